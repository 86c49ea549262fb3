package redisnotify

import (
	"errors"
	"fmt"

	"github.com/real-staging-ai/go-worker"
)

// names are the names of one topic in Redis.
//
// The topic stands in braces, as the hash tag that puts its log and its channels in one slot. A topic that contains
// braces itself cuts the tag short, but for all its names alike; the colon keeps the tag from being empty, which
// would be none. Nothing else in this module begins like this, so no topic can make a name that means something else.
type names struct{ prefix string }

func namesOf(namespace, topic string) names {
	return names{prefix: namespace + ":topic:{:" + topic + "}:"}
}

// log is a HASH: the topic's events and what is remembered of its jobs. docs/protocol.md has its fields.
func (n names) log() string { return n.prefix + "log" }

// channel is the topic's channel where the host names none.
func (n names) channel() string { return n.prefix + "channel" }

// events is where the events are published when the topic's channel carries the host's own messages.
func (n names) events() string { return n.prefix + "events" }

// checkTopic holds a topic to what a job's may be, but for characters, which harm nothing here.
func checkTopic(topic string) error {
	switch {
	case topic == "":
		return errors.New("the topic is empty")
	case len(topic) > worker.MaxTopicLength:
		return fmt.Errorf("the topic has %d bytes: the limit is %d", len(topic), worker.MaxTopicLength)
	}
	return nil
}
