package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// Edit replaces a waiting job. What the queue has is compared as it is encoded, so a job that another version of the
// library wrote in another way is left alone.
func (q *Queue) Edit(ctx context.Context, before, after *worker.Job, move worker.Move) (edited worker.Edited, err error) {
	const doing = "edit a job on"
	if before == nil || after == nil || before.ID != after.ID || before.Queue != after.Queue {
		return edited, errors.New("edit: the two are not one job")
	}
	is, err := worker.EncodeJob(before)
	if err != nil {
		return edited, fmt.Errorf("edit: %w", err)
	}
	willBe, err := worker.EncodeJob(after)
	if err != nil {
		return edited, fmt.Errorf("edit: %w", err)
	}
	when := "stay"
	switch move {
	case worker.MoveToTime:
		when = dueArg(after)
	case worker.MoveNow:
		when = "now"
	}
	reply, err := q.everywhere(ctx, editScript, after.Queue, after.ID, rueidis.BinaryString(is), rueidis.BinaryString(willBe), when)
	if err != nil {
		return edited, explain(doing, after.Queue, err)
	}
	texts, err := textsOf(reply)
	if err == nil && len(texts) != 3 {
		err = &replyError{editScript.Name, "not three parts"}
	}
	if err == nil {
		err = notEdited(texts[0], after.ID)
	}
	if err != nil {
		return edited, explain(doing, after.Queue, err)
	}
	if texts[1] != "0" {
		edited.Due = timeOf(texts[1])
	}
	if edited.Token, err = strconv.ParseInt(texts[2], 10, 64); err != nil {
		return worker.Edited{}, explain(doing, after.Queue, &replyError{editScript.Name, "a token that is no number"})
	}
	return edited, nil
}

// notEdited says why a job was not edited, by the script's word for it; nil when it was.
func notEdited(word, id string) error {
	switch word {
	case "waiting":
		return nil
	case "held":
		return fmt.Errorf("job %q: %w", id, worker.ErrJobActive)
	case "dead":
		return &worker.FinishedError{ID: id}
	case "canceled":
		return fmt.Errorf("job %q: %w", id, worker.ErrCanceled)
	case "changed":
		return fmt.Errorf("job %q: %w", id, worker.ErrJobChanged)
	}
	return fmt.Errorf("job %q: %w", id, worker.ErrJobNotFound)
}

// Forget drops what is kept of dead jobs.
func (q *Queue) Forget(ctx context.Context, queue string, ids ...string) (int, error) {
	const doing = "forget dead jobs of"
	if err := worker.CheckQueueName(queue); err != nil {
		return 0, fmt.Errorf("forget: %w", err)
	}
	keys := forgetScript.keysFor(keysOf(q.config.Namespace, queue), "")
	forgotten := 0
	for part := range slices.Chunk(ids, maxElements) {
		reply, err := q.call(ctx, forgetScript, keys, part)
		if err != nil {
			return forgotten, explain(doing, queue, err)
		}
		n, err := reply.AsInt64()
		if err != nil {
			return forgotten, explain(doing, queue, err)
		}
		forgotten += int(n)
	}
	return forgotten, nil
}
