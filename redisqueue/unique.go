package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// expiryArg says for how long a job's unique key is taken, as the scripts read it.
func expiryArg(job *worker.Job) string {
	wait := job.Delay
	if wait <= 0 && !job.RunAt.IsZero() {
		wait = time.Until(job.RunAt)
	}
	return strconv.FormatInt(ceilMillis(job.Unique.Expiry(wait)), 10)
}

// uniqueJobs are jobs with their unique keys.
type uniqueJobs struct {
	keys []string
	ids  []string
}

// ending returns the jobs whose keys their verdicts free.
func (c *consumer) ending(verdicts []worker.Verdict) (jobs uniqueJobs) {
	for _, v := range verdicts {
		final := v.Action == worker.ActionComplete || v.Action == worker.ActionBury || v.Action == worker.ActionCancel
		if u := v.Job.Unique; final && u != nil && u.Until != worker.ForPeriod {
			jobs.keys = append(jobs.keys, c.keys.unique(u.Key))
			jobs.ids = append(jobs.ids, v.Job.ID)
		}
	}
	return jobs
}

// Unlock frees the unique keys of jobs that this worker holds.
func (c *consumer) Unlock(ctx context.Context, jobs ...*worker.Job) error {
	const doing = "free unique keys of"
	for part := range slices.Chunk(jobs, maxElements) {
		if c.isOver() {
			return c.lostError(doing)
		}
		keys, args := unlockScript.keysFor(c.keys, c.worker), []string{c.worker}
		for _, job := range part {
			if job.Unique != nil {
				keys = append(keys, c.keys.unique(job.Unique.Key))
				args = append(args, job.ID, strconv.FormatInt(job.Token, 10))
			}
		}
		reply, err := c.call(ctx, unlockScript, keys, args)
		if err != nil {
			return explain(doing, c.name, err)
		}
		if c.isLost(reply) {
			return c.lostError(doing)
		}
	}
	return nil
}

// maxBodies is how many holders' bodies one call answers: with payloads of the usual limit they have maxCallBytes.
const maxBodies = 4

// Holders tells which jobs have the unique keys of the given ones.
func (q *Queue) Holders(ctx context.Context, jobs ...*worker.Job) ([]worker.Holder, error) {
	const doing = "look for unique keys on"
	holders := make([]worker.Holder, len(jobs))
	places := make(map[string][]int) // of a queue's jobs
	for i, job := range jobs {
		if job == nil || job.Unique == nil {
			return nil, fmt.Errorf("holders: job %d is not unique", i)
		}
		if err := worker.CheckQueueName(job.Queue); err != nil {
			return nil, fmt.Errorf("holders: %w", err)
		}
		places[job.Queue] = append(places[job.Queue], i)
	}
	for queue, all := range places {
		few := len(all) <= maxBodies
		for part := range slices.Chunk(all, maxElements) {
			if err := q.holders(ctx, queue, jobs, part, few, holders); err != nil {
				return nil, explain(doing, queue, err)
			}
		}
		if few {
			continue
		}
		taken := slices.DeleteFunc(all, func(i int) bool { return holders[i].ID == "" || !jobs[i].Unique.Replace })
		for part := range slices.Chunk(taken, maxBodies) {
			if err := q.holders(ctx, queue, jobs, part, true, holders); err != nil {
				return nil, explain(doing, queue, err)
			}
		}
	}
	return holders, nil
}

// holders fills in what is known of the jobs in some places, all of one queue, with the bodies for those that replace.
func (q *Queue) holders(
	ctx context.Context, queue string, jobs []*worker.Job, places []int, bodies bool, holders []worker.Holder,
) error {
	k := keysOf(q.config.Namespace, queue)
	keys, args := holdersScript.keysFor(k, ""), make([]string, 0, 2*len(places))
	for _, i := range places {
		keys = append(keys, k.unique(jobs[i].Unique.Key))
		args = append(args, jobs[i].ID, flagArg(bodies && jobs[i].Unique.Replace))
	}
	reply, err := q.call(ctx, holdersScript, keys, args)
	if err != nil {
		return err
	}
	values, err := reply.ToArray()
	if err == nil && len(values) != len(args) {
		err = &replyError{holdersScript.Name, "not two a job"}
	}
	if err != nil {
		return err
	}
	for n, i := range places {
		h := &holders[i]
		if h.ID, err = values[2*n].ToString(); err != nil {
			return err
		}
		body, err := values[2*n+1].AsBytes()
		if err != nil {
			return err
		}
		h.Job = jobOf(body, queue, h.ID)
	}
	return nil
}

// Replace makes a waiting job another one.
func (q *Queue) Replace(ctx context.Context, before, after *worker.Job) (worker.Place, int64, error) {
	const doing = "replace a job on"
	if before == nil || after == nil || before.ID != after.ID || before.Queue != after.Queue ||
		before.Unique == nil || after.Unique == nil || before.Unique.Key != after.Unique.Key {
		return worker.PlaceUnknown, 0, errors.New("replace: the two are not of one id, queue and unique key")
	}
	is, err := worker.EncodeJob(before)
	if err != nil {
		return worker.PlaceUnknown, 0, fmt.Errorf("replace: %w", err)
	}
	willBe, err := worker.EncodeJob(after)
	if err != nil {
		return worker.PlaceUnknown, 0, fmt.Errorf("replace: %w", err)
	}
	reply, err := q.everywhereBy(ctx, q.accept, replaceScript, after.Queue, after.Unique, after.ID,
		rueidis.BinaryString(is), rueidis.BinaryString(willBe), dueArg(after), expiryArg(after), flagArg(before.Unique.Until == worker.UntilStarted))
	if err != nil {
		return worker.PlaceUnknown, 0, explain(doing, after.Queue, err)
	}
	place, token, err := placeAndNumber(replaceScript, reply)
	return place, token, explain(doing, after.Queue, err)
}

// ReleaseUnique frees a unique key, whoever has it.
func (q *Queue) ReleaseUnique(ctx context.Context, queue, key string) (string, error) {
	const doing = "release a unique key of"
	if err := worker.CheckQueueName(queue); err != nil {
		return "", fmt.Errorf("%s %q: %w", doing, queue, err)
	}
	if key == "" {
		return "", fmt.Errorf("%s %s: unique key is empty", doing, queue)
	}
	k := keysOf(q.config.Namespace, queue).of(&worker.Unique{Key: key})
	reply, err := q.call(ctx, releaseScript, releaseScript.keysFor(k, ""), nil)
	if err != nil {
		return "", explain(doing, queue, err)
	}
	holder, err := reply.ToString()
	return holder, explain(doing, queue, err)
}

// uniqueOf returns the unique key that a job's end frees, as the queue has it: nil when there is none.
func (q *Queue) uniqueOf(ctx context.Context, queue, id string) (*worker.Unique, error) {
	if err := worker.CheckQueueName(queue); err != nil {
		return nil, err
	}
	reply, err := q.call(ctx, bodyScript, bodyScript.keysFor(keysOf(q.config.Namespace, queue), ""), []string{id})
	if err != nil {
		return nil, err
	}
	body, err := reply.AsBytes()
	if err != nil {
		return nil, err
	}
	job := jobOf(body, queue, id)
	if job == nil || job.Unique == nil || job.Unique.Until == worker.ForPeriod {
		return nil, nil
	}
	return job.Unique, nil
}
