package sqlstatus

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// position is a place between two rows, by when they came and by their ids: what both change of rows never moves.
type position struct {
	created time.Time
	id      string
}

// errCursor is the answer to a cursor that was not made here.
var errCursor = errors.New("the cursor is not one of this store's")

// cursor makes text of a position, for clients to hand back.
func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(p.created.UnixMicro(), 36) + " " + p.id))
}

// readCursor reads what cursor made. An empty one is no position.
func readCursor(cursor string) (*position, error) {
	if cursor == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return nil, errCursor
	}
	created, id, found := strings.Cut(string(text), " ")
	micros, err := strconv.ParseInt(created, 36, 64)
	if err != nil || !found {
		return nil, errCursor
	}
	p := &position{created: time.UnixMicro(micros).UTC(), id: id}
	if p.cursor() != cursor || p.created.Year() < 1 || p.created.Year() > 9999 {
		return nil, errCursor
	}
	return p, nil
}
