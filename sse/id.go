package sse

import (
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"
)

// maxIDSize bounds the ids that streams send, and those that they take back. It leaves room for positions of up to 25
// characters in maxTopics topics.
const maxIDSize = 4 << 10

// finishedMark ends the id of a stream that ended since all its jobs were final.
const finishedMark = "end"

// An id holds a position for each topic that has one, so that a viewer who comes back goes on in all of them:
//
//	<topic's hash>:<position, escaped>,…[,end]
//
// The hash keeps a position from being used for another topic when the page asks for others than before. One that is
// finished lists all topics, a position being empty where there is none. An id is made of characters that fit in a header
// and on a line, whatever positions hold.

// formatID returns the id for the positions of topics, empty when there are none or they are too long.
func formatID(topics, positions []string, finished bool) string {
	size := 0
	for i := range positions {
		size += len(positions[i]) + 16
	}
	var b strings.Builder
	b.Grow(size)
	for i, position := range positions {
		if position == "" && !finished {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(topicKey(topics[i]))
		b.WriteByte(':')
		b.WriteString(url.QueryEscape(position))
	}
	if finished {
		b.WriteString("," + finishedMark)
	}
	if b.Len() > maxIDSize {
		return ""
	}
	return b.String()
}

// parseID returns the positions of topics that an id holds, in the order of topics, and whether the id says that all
// their jobs were final. Anything but an id that formatID could have made counts as none.
func parseID(id string, topics []string) (positions []string, finished bool) {
	positions = make([]string, len(topics))
	if id == "" || len(id) > maxIDSize {
		return positions, false
	}
	byKey := make(map[string]string)
	for part := range strings.SplitSeq(id, ",") {
		key, escaped, ok := strings.Cut(part, ":")
		position, err := url.QueryUnescape(escaped)
		switch {
		case part == finishedMark && !finished:
			finished = true
		case !ok || finished || err != nil || url.QueryEscape(position) != escaped:
			return positions, false
		default:
			byKey[key] = position
		}
	}
	for i, topic := range topics {
		position, known := byKey[topicKey(topic)]
		positions[i] = position
		finished = finished && known
	}
	return positions, finished
}

func topicKey(topic string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(topic)) // never fails
	return strconv.FormatUint(h.Sum64(), 36)
}
