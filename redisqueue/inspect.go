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
	_ worker.Inspector = (*Queue)(nil)
	_ worker.Editor    = (*Queue)(nil)
)

// errCursor says that a cursor is none of List's.
var errCursor = errors.New("the cursor is not one that List returned")

// List returns one page of the jobs in a place. Scheduled and dead jobs are found by where the last page ended, so that
// jobs that come and go move no others, at a cost that grows with the logarithm of their number. Waiting jobs are found by
// their place in line: what was claimed since the last page has moved the others up. Redis walks to a place in line past
// some 200 jobs a step. A job that was moved or reopened while it waited may be listed at an earlier place, too.
//
// PlaceScheduled includes what fell due since the last claim. PlaceHeld reads all that a worker holds for each page.
func (q *Queue) List(ctx context.Context, queue string, opts worker.ListOptions) (worker.JobPage, error) {
	const doing = "list the jobs of"
	if err := worker.CheckQueueName(queue); err != nil {
		return worker.JobPage{}, fmt.Errorf("list: %w", err)
	}
	var page worker.JobPage
	var err error
	switch opts.Place {
	case worker.PlaceWaiting:
		page, err = q.listWaiting(ctx, queue, opts)
	case worker.PlaceScheduled, worker.PlaceDead:
		page, err = q.listSorted(ctx, queue, opts)
	case worker.PlaceHeld:
		page, err = q.listHeld(ctx, queue, opts)
	default:
		err = fmt.Errorf("there is no place %d", opts.Place)
	}
	return page, explain(doing, queue, err)
}

// listWaiting lists a part of the two lists. A cursor is a list and a place in it.
func (q *Queue) listWaiting(ctx context.Context, queue string, opts worker.ListOptions) (page worker.JobPage, err error) {
	list, from := keySuspects, int64(0)
	if opts.Cursor != "" {
		var place string
		list, place, _ = strings.Cut(opts.Cursor, " ")
		if from, err = strconv.ParseInt(place, 10, 64); err != nil || from < 0 || list != keySuspects && list != keyPending {
			return page, errCursor
		}
	}
	limit := opts.PageLimit()
	args := []string{list, strconv.FormatInt(from, 10), strconv.Itoa(limit)}
	reply, err := q.rows(ctx, listWaitingScript, queue, args)
	if err != nil {
		return page, err
	}
	if reply.first != "" {
		page.Next = reply.first + " " + reply.second
	}
	for _, r := range reply.rows {
		page.Jobs = append(page.Jobs, r.info(queue, worker.PlaceWaiting))
	}
	return page, nil
}

// listSorted lists a part of one of the two sorted sets. A cursor is the score and the id of a job.
func (q *Queue) listSorted(ctx context.Context, queue string, opts worker.ListOptions) (page worker.JobPage, err error) {
	set := keyScheduled
	if opts.Place == worker.PlaceDead {
		set = keyDead
	}
	score, id, ok := strings.Cut(opts.Cursor, " ")
	if _, err := strconv.ParseFloat(score, 64); opts.Cursor != "" && (err != nil || !ok) {
		return page, errCursor
	}
	reply, err := q.rows(ctx, listSortedScript, queue, []string{set, strconv.Itoa(opts.PageLimit()), score, id})
	if err != nil {
		return page, err
	}
	if reply.first != "" {
		page.Next = reply.first + " " + reply.second
	}
	for _, r := range reply.rows {
		page.Jobs = append(page.Jobs, r.info(queue, opts.Place))
	}
	return page, nil
}

// Find returns one job.
func (q *Queue) Find(ctx context.Context, queue, id string) (worker.JobInfo, error) {
	const doing = "find a job on"
	reply, err := q.everywhere(ctx, findScript, queue, id)
	if err != nil {
		return worker.JobInfo{}, explain(doing, queue, err)
	}
	texts, err := stringsOf(reply)
	if err == nil && len(texts) != 7 {
		err = &replyError{findScript.Name, "not seven parts"}
	}
	if err != nil {
		return worker.JobInfo{}, explain(doing, queue, err)
	}
	place := placeNamed(texts[0])
	switch {
	case texts[0] == keyScheduled:
		place = worker.PlaceScheduled
	case place == worker.PlaceUnknown:
		return worker.JobInfo{}, fmt.Errorf("%s %s: job %q: %w", doing, queue, id, worker.ErrJobNotFound)
	}
	info := rowOf(texts[1:]).info(queue, place)
	info.Worker = texts[6]
	return info, nil
}

// rowsReply is what the scripts of lists answer.
type rowsReply struct {
	first, second string
	rows          []row
}

// rows runs the script of a list.
func (q *Queue) rows(ctx context.Context, s *script, queue string, args []string) (*rowsReply, error) {
	message, err := q.call(ctx, s, s.keysFor(keysOf(q.config.Namespace, queue), ""), args)
	if err != nil {
		return nil, err
	}
	values, err := message.ToArray()
	if err != nil {
		return nil, err
	}
	texts, err := textsOf(values)
	if err != nil {
		return nil, err
	}
	if len(texts) < 2 || (len(texts)-2)%rowSize != 0 {
		return nil, &replyError{s.Name, "no whole rows"}
	}
	reply := &rowsReply{first: texts[0], second: texts[1]}
	for i := 2; i < len(texts); i += rowSize {
		reply.rows = append(reply.rows, rowOf(texts[i:]))
	}
	return reply, nil
}

// textsOf reads texts and numbers as texts.
func textsOf(values []rueidis.RedisMessage) ([]string, error) {
	texts := make([]string, len(values))
	for i := range values {
		if n, err := values[i].ToInt64(); err == nil {
			texts[i] = strconv.FormatInt(n, 10)
			continue
		}
		text, err := values[i].ToString()
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	return texts, nil
}

// row is one job as the scripts describe it. What there is none of is empty.
type row struct {
	id      string
	number  string // when it is due, when it died, or the token of its claim
	body    string
	history string
	mark    string
}

const rowSize = 5

func rowOf(texts []string) row {
	return row{id: texts[0], number: texts[1], body: texts[2], history: texts[3], mark: texts[4]}
}

// info says what a row says.
func (r row) info(queue string, place worker.Place) worker.JobInfo {
	info := worker.JobInfo{ID: r.id, Queue: queue, Place: place, Canceled: r.mark != ""}
	body := []byte(r.body)
	job, err := worker.DecodeJob(body)
	switch {
	case err != nil:
		info.Err = err
	case job.ID != r.id || job.Queue != queue:
		info.Err = &worker.DecodeError{ID: r.id, Body: body,
			Err: fmt.Errorf("the body is that of job %q on queue %q", job.ID, job.Queue)}
	default:
		info.Job = job
	}
	fields := strings.SplitN(r.history, " ", 4)
	if len(fields) > 1 {
		info.Attempts, info.Crashes = countOf(fields[0]), countOf(fields[1])
	}
	switch place {
	case worker.PlaceScheduled:
		info.Due = timeOf(r.number)
	case worker.PlaceHeld:
		info.Token = readToken(r.number)
	case worker.PlaceDead:
		info.Died = timeOf(r.number)
		if len(fields) > 2 {
			info.State = finalState(fields[2])
		}
		if len(fields) > 3 {
			info.Cause = fields[3]
		}
	}
	return info
}

// countOf reads a count as the scripts do: garbage is 0.
func countOf(text string) int {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return int(n)
}

// timeOf reads a score in ms. Garbage is no time.
func timeOf(score string) time.Time {
	ms, err := strconv.ParseFloat(score, 64)
	if err != nil || ms < 0 || ms > maxScore {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)).UTC()
}

const maxScore = 253402300799999 // the end of the year 9999
