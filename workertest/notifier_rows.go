package workertest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/real-staging-ai/go-worker"
)

// notifyRows are the promises of every worker.Notifier.
var notifyRows = []row[*notifierBench]{
	{name: "one status", run: notifyOne,
		promise: "a status of any state is taken"},
	{name: "many statuses", run: notifyMany,
		promise: "a call may carry hundreds of statuses, of several jobs and topics"},
	{name: "no statuses", run: notifyNone,
		promise: "a call without statuses is harmless"},
	{name: "awkward statuses", run: notifyAwkward,
		promise: "any valid text and result is taken"},
	{name: "context of notify", run: notifyContext,
		promise: "Notify returns soon after its context ended"},
}

// subscribeRows are the promises of a worker.Subscriber.
var subscribeRows = []row[*notifierBench]{
	{name: "fields", run: subscribeFields,
		promise: "a subscriber reads the status that was told, byte for byte, times to the millisecond"},
	{name: "order", run: subscribeOrder,
		promise: "a topic's events come in the order in which they were told"},
	{name: "replay", run: replay,
		promise: "a subscriber reads what the log holds after its position, then what is new"},
	{name: "positions", run: positions,
		promise: "every status in the log has a position of its own"},
	{name: "seam", run: seam,
		promise: "between replay and live events nothing is missing and nothing comes twice"},
	{name: "caught up", run: caughtUp,
		promise: "CaughtUp comes once, after what the log held, with a position that goes on from there"},
	{name: "every subscriber", run: everySubscriber,
		promise: "each subscriber of a topic reads all its events"},
	{name: "topics are separate", run: topicsAreSeparate,
		promise: "a subscriber reads the events of its topic only"},
	{name: "stale status", run: staleStatus,
		promise: "a status older than the last one of its job is not delivered after it"},
	{name: "idle reader", run: idleReader,
		promise: "a subscriber that doesn't read delays neither Notify nor other subscribers"},
	{name: "reset", run: reset,
		promise: "after a reset of its topic every reader, present or later, comes upon a Reset in its place"},
	{name: "end", run: channelCloses,
		promise: "the channel is closed soon after the context ended, read or not"},
	{name: "lost position", run: lostPosition,
		promise: "a position that the log doesn't have is answered by a Reset, by all that it has, or by an error"},
}

func notifyOne(b *notifierBench) {
	for state := range phaseOf {
		s := status(b.topic+string(state), state, 1)
		s.Topic = b.topic
		b.tell(s)
	}
}

func notifyMany(b *notifierBench) {
	var all []worker.Status
	for i := range 300 {
		s := b.status(fmt.Sprint("job", i%60), i/60+1)
		s.Topic = fmt.Sprint(b.topic, i%7)
		all = append(all, s)
	}
	b.ok(b.notifier.Notify(b.ctx, all...), "notify of many")
}

func notifyNone(b *notifierBench) {
	b.ok(b.notifier.Notify(b.ctx), "notify of nothing")
}

// awkward is a status with all that naive encoding trips over.
func (b *notifierBench) awkward() worker.Status {
	s := fullStatus(b.topic + "/awkward 'job' ü")
	s.Topic, s.Message, s.Error = b.topic, awkwardText, awkwardText
	s.Result = json.RawMessage(`{"text":"\u003c\"\\ é \u2028","n":12345678901234567890}`)
	return s
}

func notifyAwkward(b *notifierBench) {
	b.tell(b.awkward())
	elsewhere := b.awkward()
	elsewhere.Topic = b.topic + ": '\"\\ {ü} */?[a]"
	b.tell(elsewhere)
}

func notifyContext(b *notifierBench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	b.prompt("a notify whose context has ended", func() { _ = b.notifier.Notify(ctx, b.status("a", 1)) })
	b.tell(b.status("b", 1))
}

func subscribeFields(b *notifierBench) {
	sub := b.subscribe(b.topic, "")
	want := b.awkward()
	b.tell(want)
	e := sub.event()
	if e.Status == nil {
		b.Fatalf("the event is %+v, want a status", e)
	}
	b.sameStatus(e.Status, &want)
}

func subscribeOrder(b *notifierBench) {
	sub := b.subscribe(b.topic, "")
	var all []worker.Status
	for n := range 10 {
		all = append(all, b.status("a", n+1), b.status("b", n+1))
	}
	b.tell(all[:7]...)
	b.ok(b.notifier.Notify(b.ctx, all[7:]...), "notify")
	sub.reads(all...)
}

func replay(b *notifierBench) {
	all := b.statuses("a", 12)
	b.subscribable()
	b.tell(all[:6]...)
	first := b.subscribe(b.topic, "")
	position := first.reads(all[:4]...)
	first.end()
	first.drain()
	second := b.subscribe(b.topic, position)
	second.reads(all[4:6]...)
	b.tell(all[6:9]...)
	position = second.reads(all[6:9]...)
	second.end()
	third := b.subscribe(b.topic, position)
	b.tell(all[9:]...)
	third.reads(all[9:]...)
}

func positions(b *notifierBench) {
	all := b.statuses("a", 8)
	sub := b.subscribe(b.topic, "")
	b.tell(all...)
	seen := make(map[string]bool)
	for _, s := range all {
		position := sub.reads(s)
		if position == "" || seen[position] {
			b.Fatalf("%q has the position %q: want one of its own", s.Message, position)
		}
		seen[position] = true
	}
}

func seam(b *notifierBench) {
	b.subscribable()
	const rounds, each = 10, 6
	all := b.statuses("a", rounds*each)
	told := make(chan error, 1)
	begun := make(chan struct{}, rounds)
	go func() {
		var err error
		for i := 0; i < len(all) && err == nil; i++ {
			if i%each == 0 {
				begun <- struct{}{}
			}
			err = b.notifier.Notify(b.ctx, all[i])
		}
		told <- err
	}()
	subs := make([]*subscription, rounds)
	for i := range subs { // while the notifier is at it
		received(b.bench, begun, "a notify")
		subs[i] = b.subscribe(b.topic, "")
	}
	b.ok(received(b.bench, told, "a notify"), "notify")
	for _, sub := range subs {
		sub.reads(all...)
	}
	last := b.status("a", len(all)+1)
	b.tell(last)
	for _, sub := range subs {
		sub.reads(last)
	}
}

func caughtUp(b *notifierBench) {
	all := b.statuses("a", 6)
	b.subscribable()
	b.tell(all[:3]...)
	sub := b.subscribe(b.topic, "")
	var e worker.Event
	for i := range 4 {
		e = received(b.bench, sub.events, "a subscription")
		if e.CaughtUp != (i == 3) {
			b.Fatalf("event %d is %+v, want CaughtUp after 3 statuses", i+1, e)
		}
	}
	b.tell(all[3:]...)
	for range 3 {
		if live := received(b.bench, sub.events, "a subscription"); live.CaughtUp {
			b.Fatalf("CaughtUp came twice")
		}
	}
	b.subscribe(b.topic, e.Position).reads(all[3:]...)
	empty := b.subscribe(b.topic+"/empty", "")
	if e := received(b.bench, empty.events, "a subscription"); !e.CaughtUp {
		b.Fatalf("the first event of an empty topic is %+v, want CaughtUp", e)
	}
}

func everySubscriber(b *notifierBench) {
	first, second := b.subscribe(b.topic, ""), b.subscribe(b.topic, "")
	all := b.statuses("a", 10)
	b.tell(all...)
	first.reads(all...)
	second.reads(all...)
}

func topicsAreSeparate(b *notifierBench) {
	here, there := b.subscribe(b.topic, ""), b.subscribe(b.topic+"2", "")
	mine, other := b.statuses("a", 6), b.statuses("b", 6)
	for i := range mine {
		other[i].Topic = b.topic + "2"
		b.ok(b.notifier.Notify(b.ctx, mine[i], other[i]), "notify")
	}
	here.reads(mine...)
	there.reads(other...)
}

func staleStatus(b *notifierBench) {
	sub := b.subscribe(b.topic, "")
	b.tell(b.status("a", 2), b.status("b", 1), b.status("a", 1), b.status("b", 2))
	sub.reads(b.status("a", 2), b.status("b", 1), b.status("b", 2))
	b.subscribe(b.topic, "").reads(b.status("a", 2), b.status("b", 1), b.status("b", 2))
}

func idleReader(b *notifierBench) {
	b.subscribe(b.topic, "")
	reader := b.subscribe(b.topic, "")
	all := b.statuses("a", 40)
	b.prompt("telling a topic that has an idle reader", func() { b.tell(all...) })
	reader.reads(all...)
}

func reset(b *notifierBench) {
	resetter, ok := b.notifier.(worker.Resetter)
	if !ok {
		b.Skipf("the notifier is not a Resetter")
	}
	all := b.statuses("a", 4)
	reader, other := b.subscribe(b.topic, ""), b.subscribe(b.topic+"2", "")
	b.tell(all[:2]...)
	b.ok(resetter.Reset(b.ctx, b.topic), "reset")
	b.tell(all[2:]...)
	position := ""
	for _, sub := range []*subscription{reader, b.subscribe(b.topic, "")} {
		position = sub.reads(all[:2]...)
		if e := sub.event(); !e.Reset {
			b.Fatalf("the event after the second is %+v, want a Reset", e)
		}
		sub.reads(all[2:]...)
	}
	if e := b.subscribe(b.topic, position).event(); !e.Reset {
		b.Fatalf("the event after the position is %+v, want a Reset", e)
	}
	elsewhere := b.status("b", 1)
	elsewhere.Topic = b.topic + "2"
	b.tell(elsewhere)
	other.reads(elsewhere)
}

func channelCloses(b *notifierBench) {
	quiet, busy := b.subscribe(b.topic, ""), b.subscribe(b.topic, "")
	quiet.end()
	if !quiet.drain() {
		b.Fatalf("a channel without events was not closed")
	}
	b.tell(b.statuses("a", 5)...)
	busy.event()
	busy.end()
	if !busy.drain() {
		b.Fatalf("a channel with events was not closed")
	}
}

func lostPosition(b *notifierBench) {
	b.subscribable()
	want := b.status("a", 1)
	b.tell(want)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	events, err := b.subscribable().Subscribe(ctx, b.topic, "no such position")
	if err != nil {
		return
	}
	sub := &subscription{b: b, events: events, end: cancel}
	b.Cleanup(func() { sub.drain() })
	if e := sub.event(); !e.Reset && (e.Status == nil || e.Status.Version != want.Version) {
		b.Fatalf("the first event is %+v, want a Reset or what the log holds", e)
	}
}
