package redisqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// maxAgain is how often a call is repeated because workers came or went in between.
const maxAgain = 20

// MarkCanceled marks a job that waits or is held as canceled.
func (q *Queue) MarkCanceled(ctx context.Context, queue, id string) (worker.CancelMark, error) {
	const doing = "mark a canceled job on"
	reply, err := q.everywhere(ctx, cancelMarkScript, queue, id)
	if err != nil {
		return worker.CancelMark{}, explain(doing, queue, err)
	}
	place, token, err := placeAndNumber(cancelMarkScript, reply)
	if err != nil {
		return worker.CancelMark{}, explain(doing, queue, err)
	}
	job, err := bodyOf(cancelMarkScript, reply, queue, id)
	if err != nil {
		return worker.CancelMark{}, explain(doing, queue, err)
	}
	if len(reply) < 4 {
		return worker.CancelMark{}, explain(doing, queue, &replyError{cancelMarkScript.Name, "too short"})
	}
	ended, err := reply[3].ToString()
	if err != nil {
		return worker.CancelMark{}, explain(doing, queue, err)
	}
	return worker.CancelMark{Place: place, Token: token, Job: job, State: finalState(ended)}, nil
}

// RemoveCanceled moves a marked job that still waits among the dead. An unmarked one that waits belongs to another
// round: it is left there, and reported as waiting all the same.
func (q *Queue) RemoveCanceled(ctx context.Context, queue, id string) (worker.Place, error) {
	const doing = "remove a canceled job from"
	unique, err := q.uniqueOf(ctx, queue, id)
	if err != nil {
		return worker.PlaceUnknown, explain(doing, queue, err)
	}
	reply, err := q.everywhereBy(ctx, q.plainly, cancelRemoveScript, queue, unique, id, q.deadArgs()...)
	if err != nil {
		return worker.PlaceUnknown, explain(doing, queue, err)
	}
	place, trimmed, err := placeAndNumber(cancelRemoveScript, reply)
	q.logTrimmed(queue, trimmed)
	return place, explain(doing, queue, err)
}

// DrawToken draws the token of a new round of a dead or unknown job.
func (q *Queue) DrawToken(ctx context.Context, queue, id string) (*worker.Job, int64, error) {
	const doing = "draw a token on"
	reply, err := q.everywhere(ctx, requeueDrawScript, queue, id)
	if err != nil {
		return nil, 0, explain(doing, queue, err)
	}
	place, token, err := placeAndNumber(requeueDrawScript, reply)
	if err != nil {
		return nil, 0, explain(doing, queue, err)
	}
	if place == worker.PlaceWaiting || place == worker.PlaceHeld {
		return nil, 0, fmt.Errorf("%s %s: job %q: %w", doing, queue, id, worker.ErrJobActive)
	}
	job, err := bodyOf(requeueDrawScript, reply, queue, id)
	if err != nil {
		return nil, 0, explain(doing, queue, err)
	}
	return job, token, nil
}

// bodyOf decodes the third value of a reply. A body that is no job's, or another's, or another queue's, is none: the
// caller knows better what the job should be.
func bodyOf(s *script, reply []rueidis.RedisMessage, queue, id string) (*worker.Job, error) {
	if len(reply) < 3 {
		return nil, &replyError{s.Name, "too short"}
	}
	body, err := reply[2].AsBytes()
	if err != nil {
		return nil, err
	}
	return jobOf(body, queue, id), nil
}

// jobOf decodes a body, nil when it is not that of the job.
func jobOf(body []byte, queue, id string) *worker.Job {
	if job, err := worker.DecodeJob(body); err == nil && job.ID == id && job.Queue == queue {
		return job
	}
	return nil
}

// Reopen moves a dead job back to its queue with a new body, or pushes one that is unknown. One that is active stays.
func (q *Queue) Reopen(ctx context.Context, job *worker.Job) error {
	body, err := worker.EncodeJob(job)
	if err != nil {
		return fmt.Errorf("reopen: %w: %w", worker.ErrRefused, err)
	}
	const doing = "reopen a job on"
	expiry := ""
	if job.Unique != nil {
		expiry = expiryArg(job)
	}
	reply, err := q.everywhereBy(ctx, q.accept, requeueMoveScript, job.Queue, job.Unique, job.ID,
		rueidis.BinaryString(body), dueArg(job), expiry)
	if err != nil {
		return explain(doing, job.Queue, err)
	}
	name, err := reply[0].ToString()
	if err != nil {
		return explain(doing, job.Queue, err)
	}
	if name == "unique" && len(reply) > 1 && job.Unique != nil {
		holder, _ := reply[1].ToString()
		return &worker.DuplicateError{Key: job.Unique.Key, Holder: holder}
	}
	if place := placeNamed(name); place == worker.PlaceWaiting || place == worker.PlaceHeld {
		return fmt.Errorf("%s %s: job %q: %w", doing, job.Queue, job.ID, worker.ErrJobActive)
	}
	return nil
}

// maxKnow is how many jobs one call of the know script looks for, as each costs a look at every worker.
const maxKnow = 100

// Know tells where jobs are.
func (q *Queue) Know(ctx context.Context, queue string, ids ...string) ([]worker.Place, error) {
	const doing = "look for jobs on"
	places := make([]worker.Place, 0, len(ids))
	for part := range slices.Chunk(ids, maxKnow) {
		reply, err := q.everywhere(ctx, knowScript, queue, strconv.Itoa(len(part)), part...)
		if err != nil {
			return nil, explain(doing, queue, err)
		}
		names, err := stringsOf(reply)
		if err != nil {
			return nil, explain(doing, queue, err)
		}
		if len(names) != len(part)+1 {
			return nil, explain(doing, queue, &replyError{knowScript.Name, "not one place a job"})
		}
		for _, name := range names[1:] {
			places = append(places, placeNamed(name))
		}
	}
	return places, nil
}

// everywhere runs a script that must be given every worker's inflight hash. It learns the workers from the script, and
// repeats when they have changed.
func (q *Queue) everywhere(
	ctx context.Context, s *script, queue, first string, args ...string,
) ([]rueidis.RedisMessage, error) {
	return q.everywhereBy(ctx, q.plainly, s, queue, nil, first, args...)
}

// plainly is the ordinary caller.
func (q *Queue) plainly(ctx context.Context, _ string, s *script, keys, args []string) (rueidis.RedisMessage, error) {
	return q.call(ctx, s, keys, args)
}

// everywhereBy is everywhere for scripts that are run by a call of another kind, or are about a job with a unique key. What
// replicas did not confirm has run all the same: the reply comes with the error.
func (q *Queue) everywhereBy(
	ctx context.Context, call caller, s *script, queue string, own *worker.Unique, first string, args ...string,
) ([]rueidis.RedisMessage, error) {
	if err := worker.CheckQueueName(queue); err != nil {
		return nil, err
	}
	var workers []string
	for try := range maxAgain {
		if try > 0 && try%2 == 0 { // one call learns who they are, the next one follows at once
			if err := pause(ctx, time.Duration(try)*time.Millisecond); err != nil {
				return nil, err
			}
		}
		all := append(append([]string{first}, args...), workers...)
		reply, unsure := call(ctx, queue, s, s.keysFor(keysOf(q.config.Namespace, queue).of(own), "", workers...), all)
		if unsure != nil && !errors.As(unsure, new(*NotReplicatedError)) {
			return nil, unsure
		}
		values, err := reply.ToArray()
		if err != nil {
			return nil, err
		}
		if len(values) == 0 {
			return nil, &replyError{s.Name, "empty"}
		}
		if first, err := values[0].ToString(); err != nil || first != "again" {
			return values, cmp.Or(err, unsure)
		}
		if workers, err = stringsOf(values[1:]); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("workers came and went %d times meanwhile", maxAgain)
}

// pause waits for d, half of it jitter, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func stringsOf(values []rueidis.RedisMessage) ([]string, error) {
	texts := make([]string, len(values))
	for i := range values {
		text, err := values[i].ToString()
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	return texts, nil
}

// placeAndNumber reads a reply that begins with a place and a number.
func placeAndNumber(s *script, reply []rueidis.RedisMessage) (worker.Place, int64, error) {
	if len(reply) < 2 {
		return worker.PlaceUnknown, 0, &replyError{s.Name, "too short"}
	}
	name, err := reply[0].ToString()
	if err != nil {
		return worker.PlaceUnknown, 0, err
	}
	number, err := reply[1].AsInt64()
	if err != nil {
		return worker.PlaceUnknown, 0, err
	}
	return placeNamed(name), number, nil
}

// placeNamed returns the place that a script names.
func placeNamed(name string) worker.Place {
	switch name {
	case "waiting":
		return worker.PlaceWaiting
	case "held":
		return worker.PlaceHeld
	case "dead":
		return worker.PlaceDead
	}
	return worker.PlaceUnknown
}

// deadArgs are how old and how many dead jobs may become, as the scripts read them.
func (q *Queue) deadArgs() []string {
	return []string{strconv.FormatInt(ceilMillis(q.config.DeadMaxAge), 10), strconv.Itoa(q.config.DeadMaxCount)}
}

func (q *Queue) logTrimmed(queue string, n int64) {
	if n > 0 {
		q.config.Logger.Info("dead jobs forgotten for their age or number", "queue", queue, "jobs", n)
	}
}
