package redisnotify

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/luascript"
	"github.com/real-staging-ai/go-worker/internal/statusjson"
)

const (
	maxElements = 500     // events in a call
	maxCallSize = 4 << 20 // bytes in a call, about; one status may have more
)

// Notify implements worker.Notifier: it appends each status to the log of its topic and publishes it, unless the log
// has a later one of the job. It is safe to repeat. An error doesn't say that nothing was told: a status that cannot be
// encoded or whose topic is impossible keeps back no other.
func (n *Notifier) Notify(ctx context.Context, statuses ...worker.Status) error {
	err := n.tell(ctx, len(statuses), func(b *batch, i int) error { return b.add(&statuses[i]) })
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// Reset implements worker.Resetter: the logs of the topics get an event that says so.
func (n *Notifier) Reset(ctx context.Context, topics ...string) error {
	err := n.tell(ctx, len(topics), func(b *batch, i int) error { return b.addReset(topics[i]) })
	if err != nil {
		return fmt.Errorf("reset topics: %w", err)
	}
	return nil
}

// tell writes so many events, each of which add puts into the batch.
func (n *Notifier) tell(ctx context.Context, events int, add func(b *batch, i int) error) error {
	if events == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, n.hub.config.Timeout)
	defer cancel()
	sharded, err := n.sharded(ctx)
	if err != nil {
		return err
	}
	var problems []error
	b := newBatch(n.hub, sharded)
	for i := range events {
		if err := add(b, i); err != nil {
			problems = append(problems, err)
		}
		if b.full() || i == events-1 {
			problems = append(problems, b.send(ctx)...)
		}
	}
	return errors.Join(problems...)
}

// batch gathers events by topic for one call, or on a cluster one call for each topic.
type batch struct {
	hub     *hub
	sharded bool

	text   []byte // what all arguments of the call are parts of
	topics map[string]int
	groups []group
	size   int // events
}

// group is the events of one topic, in order.
type group struct {
	topic string
	told  []told
}

// told is one event: in the batch's text its version ends at version, then its body at body, then its message at end.
type told struct {
	id                        string // of the job, empty when it has none
	begin, version, body, end int
}

func newBatch(h *hub, sharded bool) *batch {
	return &batch{hub: h, sharded: sharded, topics: make(map[string]int)}
}

func (b *batch) full() bool { return b.size >= maxElements || len(b.text) >= maxCallSize }

// add encodes a status.
func (b *batch) add(s *worker.Status) error {
	if err := checkTopic(s.Topic); err != nil {
		return fmt.Errorf("status of job %q: %w", s.JobID, err)
	}
	t := told{id: s.JobID, begin: len(b.text)}
	b.text = appendVersion(b.text, s.Version)
	t.version = len(b.text)
	var message []byte
	if b.hub.config.Message != nil {
		var err error
		if message, err = b.message(s); err != nil {
			b.text = b.text[:t.begin]
			return err
		}
		if len(message) > 0 {
			b.text = append(appendDigest(append(b.text, `"digest":"`...), message), `",`...)
		}
	}
	text, err := statusjson.Append(append(b.text, `"status":`...), s)
	if err != nil {
		b.text = b.text[:t.begin]
		return err
	}
	b.text = append(text, '}')
	b.put(s.Topic, t, message)
	return nil
}

// message asks the host for its bytes. A panic there costs the status at hand, and no other.
func (b *batch) message(s *worker.Status) (message []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("status of job %q: Message panicked: %v", s.JobID, p)
		}
	}()
	return b.hub.config.Message(*s), nil
}

// addReset adds an event of no job.
func (b *batch) addReset(topic string) error {
	if err := checkTopic(topic); err != nil {
		return err
	}
	t := told{begin: len(b.text)}
	b.text = appendVersion(b.text, 0)
	t.version = len(b.text)
	b.text = append(b.text, resetBody...)
	b.put(topic, t, nil)
	return nil
}

// put adds an event whose body is the end of the text.
func (b *batch) put(topic string, t told, message []byte) {
	t.body = len(b.text)
	b.text = append(b.text, message...)
	t.end = len(b.text)
	g := b.groupOf(topic)
	g.told = append(g.told, t)
	b.size++
}

func (b *batch) groupOf(topic string) *group {
	i, ok := b.topics[topic]
	if !ok {
		i = len(b.groups)
		b.topics[topic] = i
		b.groups = append(b.groups, group{topic: topic})
	}
	return &b.groups[i]
}

// appendVersion writes a version so that texts compare as the numbers do.
func appendVersion(b []byte, version int64) []byte {
	const digits = 19
	var buf [digits]byte
	text := strconv.AppendInt(buf[:0], max(version, 0), 10)
	for range digits - len(text) {
		b = append(b, '0')
	}
	return append(b, text...)
}

// send writes what was gathered, and begins anew.
func (b *batch) send(ctx context.Context) (problems []error) {
	if b.size == 0 {
		return nil
	}
	for _, reply := range notifyScript.RepeatEach(ctx, b.hub.client, b.calls()) {
		if err := b.took(reply); err != nil {
			problems = append(problems, err)
		}
	}
	clear(b.topics)
	b.text, b.groups, b.size = nil, nil, 0
	return problems
}

// calls makes one call of all topics, or on a cluster, where their logs have different slots, one for each.
func (b *batch) calls() []luascript.Call {
	text := string(b.text)
	if b.hub.client.Mode() != rueidis.ClientModeCluster {
		call := luascript.Call{Args: b.head(5 * b.size)}
		for i := range b.groups {
			b.arguments(&call, &b.groups[i], text)
		}
		return []luascript.Call{call}
	}
	calls := make([]luascript.Call, len(b.groups))
	for i := range b.groups {
		calls[i].Args = b.head(5 * len(b.groups[i].told))
		b.arguments(&calls[i], &b.groups[i], text)
	}
	return calls
}

func (b *batch) head(room int) []string {
	sharded := "0"
	if b.sharded {
		sharded = "1"
	}
	c := &b.hub.config
	return append(make([]string, 0, 4+room), sharded, strconv.FormatInt(b.hub.highest.Load(), 10),
		strconv.Itoa(c.LogSize), strconv.FormatInt(c.LogTTL.Milliseconds(), 10))
}

// arguments adds a topic to a call.
func (b *batch) arguments(call *luascript.Call, g *group, text string) {
	n := b.hub.names(g.topic)
	channel, host := b.hub.channel(g.topic), ""
	call.Keys = append(call.Keys, n.log())
	if b.hub.config.Message != nil {
		channel, host = n.events(), channel
	}
	if b.sharded {
		call.Keys = append(call.Keys, channel)
		if host != "" {
			call.Keys = append(call.Keys, host)
		}
	}
	call.Args = append(call.Args, channel, host, strconv.Itoa(len(g.told)))
	for _, t := range g.told {
		call.Args = append(call.Args, t.id, text[t.begin:t.version], text[t.version:t.body])
		if host != "" {
			call.Args = append(call.Args, text[t.body:t.end])
		}
	}
}

func (b *batch) took(reply rueidis.RedisResult) error {
	parts, err := reply.AsStrSlice()
	switch {
	case err != nil:
		return err
	case len(parts) != 2:
		return errNotRedis
	}
	if position := parsePosition(parts[0]); position > 0 {
		b.hub.saw(position)
	}
	if parts[1] != "" {
		return errors.New(parts[1])
	}
	return nil
}
