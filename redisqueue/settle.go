package redisqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/real-staging-ai/go-worker"
)

// maxCause is how many bytes of a dead job's cause are kept.
const maxCause = 1 << 10

// Settle ends claims, in calls of up to 500 verdicts. When the server refuses one call the others are made all the same.
func (c *consumer) Settle(ctx context.Context, verdicts ...worker.Verdict) error {
	for i, v := range verdicts {
		if v.Job == nil {
			return fmt.Errorf("settle on %s: verdict %d has no job", c.name, i)
		}
		if v.Action < worker.ActionComplete || v.Action > worker.ActionCancel {
			return fmt.Errorf("settle on %s: job %q: unknown %v", c.name, v.Job.ID, v.Action)
		}
	}
	if len(verdicts) > maxElements {
		// What goes back to the head goes last claim first, so that claim order survives the cut into calls.
		verdicts = slices.Clone(verdicts)
		slices.SortStableFunc(verdicts, func(a, b worker.Verdict) int { return cmp.Compare(b.Job.Token, a.Job.Token) })
	}
	var errs []error
	for part := range slices.Chunk(verdicts, maxElements) {
		if c.isOver() {
			return c.lostError("settle on")
		}
		if err := c.settle(ctx, part); err != nil {
			errs = append(errs, err)
			if !errors.Is(err, worker.ErrRefused) {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// settle runs the settle script once.
func (c *consumer) settle(ctx context.Context, verdicts []worker.Verdict) error {
	const doing = "settle on"
	c.ledger.settling(verdicts)
	ending := c.ending(verdicts)
	reply, err := c.call(ctx, settleScript, append(slices.Clip(c.settleKeys), ending.keys...),
		c.settleArgs(verdicts, ending.ids))
	if err != nil {
		err = explain(doing, c.name, err)
		if errors.Is(err, worker.ErrRefused) {
			c.ledger.refused(verdicts)
		}
		return err
	}
	if c.isLost(reply) {
		return c.lostError(doing)
	}
	numbers, err := reply.AsIntSlice()
	if err == nil && len(numbers) == 0 {
		err = &replyError{settleScript.Name, "empty"}
	}
	var ignored []worker.Verdict
	if err == nil {
		ignored, err = inPlaces(verdicts, numbers[1:])
	}
	if err != nil {
		return explain(doing, c.name, err)
	}
	c.tally.add(verdicts, c.ledger.sentOnce(ignored))
	if c.ledger.settled(verdicts) {
		c.freed(ctx)
	}
	if n := len(ignored); n > 0 {
		c.queue.config.Logger.Debug("verdicts on jobs that are no longer held", "queue", c.name, "verdicts", n)
	}
	c.queue.logTrimmed(c.name, numbers[0])
	return nil
}

// inPlaces returns the verdicts in some places, counted from 1 in the order in which the script reads them.
func inPlaces(verdicts []worker.Verdict, places []int64) (some []worker.Verdict, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	ordered := slices.Clone(verdicts)
	slices.SortStableFunc(ordered, func(a, b worker.Verdict) int { return cmp.Compare(afterComplete(a), afterComplete(b)) })
	for _, place := range places {
		if place < 1 || place > int64(len(ordered)) {
			return nil, &replyError{settleScript.Name, fmt.Sprintf("verdict %d of %d", place, len(ordered))}
		}
		some = append(some, ordered[place-1])
	}
	return some, nil
}

// afterComplete is 0 for verdicts that the script reads first, 1 for the others.
func afterComplete(v worker.Verdict) int {
	if v.Action == worker.ActionComplete {
		return 0
	}
	return 1
}

// settleArgs writes verdicts as the script reads them: complete ones first, with two arguments each. ending are the ids of
// unique jobs that end.
func (c *consumer) settleArgs(verdicts []worker.Verdict, ending []string) []string {
	complete := 0
	for _, v := range verdicts {
		if v.Action == worker.ActionComplete {
			complete++
		}
	}
	tokens := numerals(c.ledger.allInRedis(verdicts))
	args := make([]string, 0, 6+len(ending)+2*complete+6*(len(verdicts)-complete))
	args = append(append(args, c.worker, strconv.Itoa(c.threshold)), c.queue.deadArgs()...)
	args = append(args, strconv.Itoa(complete), strconv.Itoa(len(ending)))
	args = append(args, ending...)
	for i, v := range verdicts {
		if v.Action == worker.ActionComplete {
			args = append(args, v.Job.ID, tokens[i])
		}
	}
	for i, v := range verdicts {
		if v.Action != worker.ActionComplete {
			args = append(args, v.Job.ID, tokens[i], actionArg(v.Action),
				strconv.FormatInt(ceilMillis(max(v.Delay, 0)), 10), causeArg(v.Cause), traceArg(v.Trace))
		}
	}
	return args
}

// numerals writes numbers in decimal. They share one piece of memory, as there is one for each job.
func numerals(numbers []int64) []string {
	digits := make([]byte, 0, 16*len(numbers)) // tokens have no more
	ends := make([]int, len(numbers))
	for i, n := range numbers {
		digits = strconv.AppendInt(digits, n, 10)
		ends[i] = len(digits)
	}
	text, start := string(digits), 0
	written := make([]string, len(numbers))
	for i, end := range ends {
		written[i], start = text[start:end], end
	}
	return written
}

func actionArg(a worker.Action) string {
	switch a {
	case worker.ActionBury:
		return "f"
	case worker.ActionCancel:
		return "c"
	}
	return a.String()
}

// causeArg returns what is kept of a cause: valid UTF-8 of limited length.
func causeArg(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if len(text) > maxCause {
		cut := maxCause
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return strings.ToValidUTF8(text, "")
}

// giveBack returns claims that nobody here knows to the head of the queue, with nothing counted.
func (c *consumer) giveBack(ctx context.Context, strange []held) error {
	verdicts := make([]worker.Verdict, len(strange))
	for i, h := range strange {
		verdicts[i] = worker.Verdict{Job: &worker.Job{ID: h.id, Token: h.token}, Action: worker.ActionRelease}
	}
	return c.Settle(ctx, verdicts...)
}
