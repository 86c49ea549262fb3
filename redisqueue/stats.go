package redisqueue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

const (
	maxVoid  = 100 // ids in void whose entries are counted one by one
	maxHeads = 16  // entries at the head of a list in which Stats looks for a job
)

var _ worker.Sampler = (*Queue)(nil)

// Stats counts a queue's jobs, in two calls that write nothing and cost the same however many there are. What moves in
// between may be counted twice, or not at all.
//
// Workers are those whose lease runs: of dead ones that nobody is left to take over from, the jobs still count as Running.
// Waiting is exact unless more than 100 jobs were canceled while they waited and still have their entry in a list.
// OldestAge is the greatest of three ages: of the job at the head of the queue, of the first suspect, and of the first
// scheduled one when it is due and not yet promoted. It is the time since a job was enqueued, or became due, or became due
// again. A job whose worker died doesn't tell, so that the next one does; where all that are looked at are such, it is the time
// since the first of them was enqueued or became due, the longest that it can have waited.
func (q *Queue) Stats(ctx context.Context, queue string) (worker.QueueStats, error) {
	const doing = "count the jobs of"
	if err := worker.CheckQueueName(queue); err != nil {
		return worker.QueueStats{}, fmt.Errorf("stats: %w", err)
	}
	keys := keysOf(q.config.Namespace, queue)
	reply, err := q.call(ctx, statsScript, statsScript.keysFor(keys, ""), []string{
		strconv.FormatInt(ceilMillis(q.config.Lease), 10), strconv.Itoa(maxVoid), strconv.Itoa(maxHeads),
	})
	if err != nil {
		return worker.QueueStats{}, explain(doing, queue, err)
	}
	answer, err := readStats(reply)
	if err != nil {
		return worker.QueueStats{}, explain(doing, queue, err)
	}
	running, err := q.countHeld(ctx, keys, answer.workers)
	if err != nil {
		return worker.QueueStats{}, explain(doing, queue, err)
	}
	stats := answer.stats()
	stats.Queue, stats.Running = queue, running
	return stats, nil
}

// countHeld counts what workers hold.
func (q *Queue) countHeld(ctx context.Context, keys keys, workers []string) (int64, error) {
	if len(workers) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	commands := make([]rueidis.Completed, len(workers))
	for i, name := range workers {
		commands[i] = q.client.B().Hlen().Key(keys.inflight(name)).Build()
	}
	var held int64
	for _, reply := range q.client.DoMulti(ctx, commands...) {
		n, err := reply.AsInt64()
		if err != nil {
			return 0, err
		}
		held += n
	}
	return held, nil
}

// statsAnswer is the stats script's reply, as its header describes it.
type statsAnswer struct {
	now, entries, void, due, scheduled, dead, open, first, paused int64

	workers []string
	heads   []string // header and due time of each
}

func readStats(reply rueidis.RedisMessage) (*statsAnswer, error) {
	values, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	a := &statsAnswer{}
	numbers := [...]*int64{&a.now, &a.entries, &a.void, &a.due, &a.scheduled, &a.dead, &a.open, &a.first, &a.paused}
	if len(values) != len(numbers)+2 {
		return nil, &replyError{statsScript.Name, "not eleven parts"}
	}
	for i, number := range numbers {
		if *number, err = values[i].AsInt64(); err != nil {
			return nil, err
		}
	}
	if a.workers, err = values[len(numbers)].AsStrSlice(); err != nil {
		return nil, err
	}
	a.heads, err = values[len(numbers)+1].AsStrSlice()
	return a, err
}

// stats returns the counts but for the jobs that run.
func (a *statsAnswer) stats() worker.QueueStats {
	return worker.QueueStats{
		Waiting:   max(a.entries-a.void, 0) + a.due,
		Scheduled: a.scheduled,
		Dead:      a.dead,
		Workers:   int(a.open),
		Paused:    a.paused != 0,
		OldestAge: a.oldest(),
	}
}

func (a *statsAnswer) oldest() time.Duration {
	var oldest time.Duration
	now := time.UnixMilli(a.now)
	if a.due > 0 && a.first >= 0 {
		oldest = now.Sub(time.UnixMilli(a.first))
	}
	for i := 0; i+1 < len(a.heads); i += 2 {
		job, err := worker.DecodeJob([]byte(a.heads[i] + "\n"))
		if err != nil {
			continue
		}
		due, _ := strconv.ParseInt(a.heads[i+1], 10, 64) // '' when it never became due again
		if since := runnableAt(job, due); !since.IsZero() {
			oldest = max(oldest, now.Sub(since))
		}
	}
	return oldest
}
