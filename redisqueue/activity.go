package redisqueue

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// Queues returns the names of all queues of the namespace that jobs were put on or workers were opened for. They are kept
// for ever.
func (q *Queue) Queues(ctx context.Context) ([]string, error) {
	replies, err := q.commands(ctx, q.client.B().Smembers().Key(queuesKey(q.config.Namespace)).Build())
	if err != nil {
		return nil, explain("list the queues of", q.config.Namespace, err)
	}
	names, err := replies[0].AsStrSlice()
	slices.Sort(names)
	return names, explain("list the queues of", q.config.Namespace, err)
}

// enlist puts a queue's name among all names: when a session is opened, and once for all jobs of this Queue. It is tried
// again only after trouble on the way, as the names are only to be looked at.
func (q *Queue) enlist(ctx context.Context, queue string) {
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	err := q.client.Do(ctx, q.client.B().Sadd().Key(queuesKey(q.config.Namespace)).Member(queue).Build()).Error()
	if err != nil {
		q.config.Logger.Debug("the queue's name is not listed", "queue", queue, "error", err)
	}
	q.outbox(queue).listed.Store(err == nil || serverError(err))
}

// Activity tells who works on a queue and how much was settled of late. It costs a look at each worker.
func (q *Queue) Activity(ctx context.Context, queue string) (worker.Activity, error) {
	if err := worker.CheckQueueName(queue); err != nil {
		return worker.Activity{}, fmt.Errorf("activity: %w", err)
	}
	activity, err := q.activity(ctx, keysOf(q.config.Namespace, queue))
	return activity, explain("look at the activity on", queue, err)
}

func (q *Queue) activity(ctx context.Context, k keys) (a worker.Activity, err error) {
	b := q.client.B
	replies, err := q.commands(ctx,
		b().Time().Build(),
		b().Zrange().Key(k.name(keyWorkers)).Min("0").Max("-1").Withscores().Build(),
		b().Hgetall().Key(k.name(keyInfo)).Build(),
		b().Hgetall().Key(k.name(keyRates)).Build())
	if err != nil {
		return a, err
	}
	clock, err := replies[0].AsIntSlice()
	if err == nil && len(clock) != 2 {
		err = &replyError{"TIME", "not two numbers"}
	}
	if err != nil {
		return a, err
	}
	now := time.Unix(clock[0], clock[1]*1000)
	leases, err := replies[1].AsZScores()
	if err != nil {
		return a, err
	}
	infos, err := replies[2].AsStrMap()
	if err != nil {
		return a, err
	}
	rates, err := replies[3].AsStrMap()
	if err != nil {
		return a, err
	}
	a.Minutes = readRates(rates, now)
	names := make([]string, len(leases))
	for i, l := range leases {
		names[i] = l.Member
	}
	running, err := q.counts(ctx, k, names)
	if err != nil {
		return a, err
	}
	for _, l := range leases {
		a.Workers = append(a.Workers, worker.SessionInfo{
			Name: l.Member, Process: readProcess(infos[l.Member]), Running: running[l.Member],
			Lease: max(0, time.UnixMilli(int64(l.Score)).Sub(now)),
		})
	}
	slices.SortFunc(a.Workers, func(x, y worker.SessionInfo) int { return cmp.Compare(x.Name, y.Name) })
	return a, nil
}

// process is worker.Process as Redis has it.
type process struct {
	Name    string `json:"name,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Started int64  `json:"started,omitempty"` // in ms since 1970
}

// processArg writes what a worker tells of its process, an empty text when it is nothing.
func processArg(p worker.Process) string {
	if p == (worker.Process{}) {
		return ""
	}
	written := process{Name: p.Name, Host: p.Host, PID: p.PID}
	if !p.Started.IsZero() {
		written.Started = p.Started.UnixMilli()
	}
	text, _ := json.Marshal(written) // texts and numbers always marshal
	return string(text)
}

// readProcess reads what a worker told. What isn't readable is nothing.
func readProcess(text string) (p worker.Process) {
	var read process
	if json.Unmarshal([]byte(text), &read) != nil {
		return p
	}
	p = worker.Process{Name: read.Name, Host: read.Host, PID: read.PID}
	if read.Started > 0 && read.Started <= maxScore {
		p.Started = time.UnixMilli(read.Started).UTC()
	}
	return p
}

// minutesKept is how many minutes Activity tells of, the current one included.
const minutesKept = 60

// readRates reads the counts of the minutes up to now, the latest first.
func readRates(fields map[string]string, now time.Time) (minutes []worker.MinuteCounts) {
	byMinute := make(map[int64]*worker.MinuteCounts)
	last := now.Unix() / 60
	for field, value := range fields {
		if field == "" {
			continue
		}
		end := len(field) - 1
		minute, err := strconv.ParseInt(field[:end], 10, 64)
		n, err2 := strconv.ParseInt(value, 10, 64)
		if err != nil || err2 != nil || minute > last || minute <= last-minutesKept {
			continue
		}
		m := byMinute[minute]
		if m == nil {
			m = &worker.MinuteCounts{Start: time.Unix(minute*60, 0).UTC()}
			byMinute[minute] = m
		}
		switch field[end] {
		case 's':
			m.Succeeded = n
		case 'r':
			m.Retried = n
		case 'f':
			m.Failed = n
		case 'c':
			m.Canceled = n
		}
	}
	for _, m := range byMinute {
		minutes = append(minutes, *m)
	}
	slices.SortFunc(minutes, func(a, b worker.MinuteCounts) int { return b.Start.Compare(a.Start) })
	return minutes
}

// tally counts what a session has settled since it told Redis last: with its heartbeats, so that jobs cost nothing more.
type tally struct{ succeeded, retried, failed, canceled atomic.Int64 }

// add counts verdicts that were answered, but for those that settled nothing. Both in one step, or a heartbeat in between
// would tell of a minute with less than nothing. A repeated one whose first answer was lost is counted by its second.
func (t *tally) add(verdicts, void []worker.Verdict) {
	var n [4]int64
	sum(&n, verdicts, 1)
	sum(&n, void, -1)
	for i, count := range t.all() {
		count.Add(n[i])
	}
}

// sum adds so much for each verdict to the counts, which are in the order of all.
func sum(n *[4]int64, verdicts []worker.Verdict, each int64) {
	for i := range verdicts {
		switch verdicts[i].Action {
		case worker.ActionComplete:
			n[0] += each
		case worker.ActionRetry:
			n[1] += each
		case worker.ActionBury:
			n[2] += each
		case worker.ActionCancel:
			n[3] += each
		}
	}
}

// take returns the counts, and begins anew.
func (t *tally) take() (n [4]int64) {
	for i, count := range t.all() {
		n[i] = count.Swap(0)
	}
	return n
}

// all are the counts in the order of the script's arguments.
func (t *tally) all() [4]*atomic.Int64 {
	return [4]*atomic.Int64{&t.succeeded, &t.retried, &t.failed, &t.canceled}
}

// sendTally tells Redis what was settled, if anything was. What it refused is told with the next; of what it did not
// answer that isn't known, so it may be lost.
func (c *consumer) sendTally(ctx context.Context) {
	n := c.tally.take()
	if n == ([4]int64{}) {
		return
	}
	args := make([]string, len(n))
	for i := range n {
		args[i] = strconv.FormatInt(n[i], 10)
	}
	_, err := c.queue.call(ctx, tallyScript, tallyScript.keysFor(c.keys, ""), args)
	if err == nil {
		return
	}
	c.queue.config.Logger.Debug("settlements are not counted", "queue", c.name, "error", err)
	if serverError(err) && refusal(err.Error()) {
		for i, count := range c.tally.all() {
			count.Add(n[i])
		}
	}
}
