package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

var (
	tickScript     = load("tick")
	lastTickScript = load("last_tick")
)

var _ worker.Ticker = (*Queue)(nil)

// LastTick tells the last tick of a schedule, and Redis's time.
func (q *Queue) LastTick(
	ctx context.Context, queue, name string, begin time.Time,
) (last, now time.Time, err error) {
	const doing = "look for a tick on"
	if err := checkSchedule(queue, name); err != nil {
		return time.Time{}, time.Time{}, err
	}
	keys := lastTickScript.keysFor(keysOf(q.config.Namespace, queue), "")
	reply, err := q.call(ctx, lastTickScript, keys, []string{name, strconv.FormatInt(begin.UnixMilli(), 10)})
	if err != nil {
		return time.Time{}, time.Time{}, explain(doing, queue, err)
	}
	values, err := reply.AsIntSlice()
	if err == nil && len(values) != 2 {
		err = &replyError{lastTickScript.Name, "not two numbers"}
	}
	if err != nil {
		return time.Time{}, time.Time{}, explain(doing, queue, err)
	}
	return time.UnixMilli(values[0]).UTC(), time.UnixMilli(values[1]).UTC(), nil
}

// EnqueueTick enqueues the job of a tick, once. It waits for replicas as Enqueue does.
func (q *Queue) EnqueueTick(ctx context.Context, name string, tick time.Time, job *worker.Job) (bool, error) {
	const doing = "enqueue a tick on"
	body, err := worker.EncodeJob(job)
	if err == nil {
		err = checkSchedule(job.Queue, name)
	}
	if err != nil {
		return false, fmt.Errorf("enqueue a tick: %w: %w", worker.ErrRefused, err)
	}
	expiry := ""
	if job.Unique != nil {
		expiry = expiryArg(job)
	}
	keys := tickScript.keysFor(keysOf(q.config.Namespace, job.Queue).of(job.Unique), "")
	args := []string{name, strconv.FormatInt(tick.UnixMilli(), 10), job.ID, rueidis.BinaryString(body), dueArg(job), expiry}
	reply, unsure := q.accept(ctx, job.Queue, tickScript, keys, args)
	if unsure != nil && !errors.As(unsure, new(*NotReplicatedError)) {
		return false, explain(doing, job.Queue, unsure)
	}
	answer, err := reply.ToString()
	if err != nil {
		return false, explain(doing, job.Queue, err)
	}
	switch answer {
	case "early":
		return false, fmt.Errorf("%s %s: %w: the tick is ahead of Redis's clock", doing, job.Queue, worker.ErrRefused)
	case "passed":
		return false, explain(doing, job.Queue, unsure)
	case "new", "known":
		return unsure == nil, explain(doing, job.Queue, unsure)
	}
	refused := error(&worker.FinishedError{ID: job.ID, State: finalState(answer)})
	if holder, ok := strings.CutPrefix(answer, "unique "); ok && job.Unique != nil {
		refused = &worker.DuplicateError{Key: job.Unique.Key, Holder: holder}
	}
	return false, &worker.EnqueueError{Failed: map[string]error{job.ID: refused}}
}

func checkSchedule(queue, name string) error {
	if name == "" {
		return errors.New("the schedule has no name")
	}
	return worker.CheckQueueName(queue)
}
