package sse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestIDsGoThereAndBack(t *testing.T) {
	topics := []string{"a", "b", "c\x00"}
	positions := []string{"17-3", "", "x,y:z %,end\r\n\x00\xff"}
	id := formatID(topics, positions, false)
	assert.Regexp(t, `^[A-Za-z0-9:,%+._~-]+$`, id)
	got, finished := parseID(id, topics)
	assert.Equal(t, positions, got)
	assert.False(t, finished)
	got, _ = parseID(id, []string{"c\x00", "d", "a"})
	assert.Equal(t, []string{positions[2], "", positions[0]}, got)
}

func TestIDOfAFinishedStream(t *testing.T) {
	topics := []string{"a", "b"}
	id := formatID(topics, []string{"1", ""}, true)
	positions, finished := parseID(id, topics)
	assert.True(t, finished)
	assert.Equal(t, []string{"1", ""}, positions)
	_, finished = parseID(id, []string{"a", "c"})
	assert.False(t, finished, "c was not on that stream")
	_, finished = parseID("end", topics)
	assert.False(t, finished)
}

func TestIDsAreBounded(t *testing.T) {
	long := strings.Repeat("9", maxIDSize)
	assert.Empty(t, formatID([]string{"a"}, []string{long}, false))
	positions, _ := parseID(topicKey("a")+":"+long, []string{"a"})
	assert.Equal(t, []string{""}, positions)
}

// A viewer of as many topics as a stream may have comes back to its place in all of them, and to their end.
func TestIDsOfAsManyTopicsAsMayBeFit(t *testing.T) {
	var topics, positions []string
	for i := 0; len(topics) < maxTopics; i++ {
		topic := fmt.Sprint("job:", i)
		if len(topicKey(topic)) < 13 { // not the longest
			continue
		}
		topics = append(topics, topic)
		positions = append(positions, strings.Repeat("9", 25))
	}
	for _, finished := range []bool{false, true} {
		got, ended := parseID(formatID(topics, positions, finished), topics)
		assert.Equal(t, positions, got)
		assert.Equal(t, finished, ended)
	}
}

func FuzzLastEventID(f *testing.F) {
	for _, seed := range []string{"", "a:1", "a:1,b:2,end", ",", "%", "a:%zz", ":::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		positions, _ := parseID(id, []string{"a", "b"})
		assert.Len(t, positions, 2)
	})
}
