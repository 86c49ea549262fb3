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
	created moment
	id      string
}

// errCursor is the answer to a cursor that was not made here.
var errCursor = errors.New("the cursor is not one of this store's")

// encoding is that of cursors.
var encoding = base64.RawURLEncoding.Strict()

// cursor makes text of a position, for clients to hand back.
func (p position) cursor() string {
	created := strconv.FormatInt(p.created.UnixMicro(), 36)
	if p.created.raw != "" {
		created = "=" + encoding.EncodeToString([]byte(p.created.raw))
	}
	return encoding.EncodeToString([]byte(created + " " + p.id))
}

// readCursor reads what cursor made. An empty one is no position.
func readCursor(cursor string) (*position, error) {
	if cursor == "" {
		return nil, nil
	}
	text, err := encoding.DecodeString(cursor)
	if err != nil {
		return nil, errCursor
	}
	created, id, found := strings.Cut(string(text), " ")
	if !found {
		return nil, errCursor
	}
	p := &position{id: id}
	if coded, isRaw := strings.CutPrefix(created, "="); isRaw {
		raw, err := encoding.DecodeString(coded)
		if err != nil {
			return nil, errCursor
		}
		p.created.raw = string(raw)
	} else {
		micros, err := strconv.ParseInt(created, 36, 64)
		if err != nil {
			return nil, errCursor
		}
		p.created.Time = time.UnixMicro(micros).UTC()
	}
	if year := p.created.Year(); p.cursor() != cursor || year < firstYear || year > lastYear {
		return nil, errCursor
	}
	return p, nil
}

// The years that Postgres knows and microseconds since 1970 reach.
const (
	firstYear = -4711
	lastYear  = 294246
)
