package redisqueue

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// holdings are a worker's claims in the order of their tokens.
type holdings struct {
	worker string
	claims []held
}

// listHeld lists what workers hold, by their names and in the order of the claims. A cursor is a worker and the token of
// the claim that the page ended with. Only workers that hold something cost a look of their own.
func (q *Queue) listHeld(ctx context.Context, queue string, opts worker.ListOptions) (page worker.JobPage, err error) {
	first, after := opts.Worker, int64(-1)
	if opts.Cursor != "" {
		name, token, _ := strings.Cut(opts.Cursor, " ")
		if after, err = strconv.ParseInt(token, 10, 64); err != nil || opts.Worker != "" && name != opts.Worker {
			return page, errCursor
		}
		first = name
	}
	k := keysOf(q.config.Namespace, queue)
	busy := []string{opts.Worker}
	if opts.Worker == "" {
		if busy, err = q.busyFrom(ctx, k, first); err != nil {
			return page, err
		}
	}
	limit := opts.PageLimit()
	for i, name := range busy {
		h, err := q.holds(ctx, k, name)
		if err != nil {
			return page, err
		}
		if name == first {
			h.claims = slices.DeleteFunc(h.claims, func(c held) bool { return c.token <= after })
		}
		room := limit - len(page.Jobs)
		more := len(h.claims) > room
		h.claims = h.claims[:min(room, len(h.claims))]
		used, err := q.describe(ctx, queue, k, h, &page)
		if err != nil {
			return page, err
		}
		if used < len(h.claims) || more || used == room && i < len(busy)-1 {
			page.Next = name + " " + strconv.FormatInt(h.claims[used-1].token, 10)
			return page, nil
		}
	}
	return page, nil
}

// busyFrom returns the names of workers that hold something, from one on.
func (q *Queue) busyFrom(ctx context.Context, k keys, first string) ([]string, error) {
	names, err := q.commands(ctx, q.client.B().Zrange().Key(k.name(keyWorkers)).Min("0").Max("-1").Build())
	if err != nil {
		return nil, err
	}
	workers, err := names[0].AsStrSlice()
	if err != nil {
		return nil, err
	}
	workers = slices.DeleteFunc(workers, func(name string) bool { return name < first })
	slices.Sort(workers)
	counts, err := q.counts(ctx, k, workers)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(workers, func(name string) bool { return counts[name] == 0 }), nil
}

// counts returns how many jobs each worker holds.
func (q *Queue) counts(ctx context.Context, k keys, workers []string) (map[string]int64, error) {
	var commands []rueidis.Completed
	for _, name := range workers {
		commands = append(commands, q.client.B().Hlen().Key(k.inflight(name)).Build())
	}
	counts := make(map[string]int64, len(workers))
	replies, err := q.commands(ctx, commands...)
	if err != nil {
		return nil, err
	}
	for i, reply := range replies {
		if counts[workers[i]], err = reply.AsInt64(); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// holds returns a worker's claims.
func (q *Queue) holds(ctx context.Context, k keys, name string) (*holdings, error) {
	replies, err := q.commands(ctx, q.client.B().Hgetall().Key(k.inflight(name)).Build())
	if err != nil {
		return nil, err
	}
	tokens, err := replies[0].AsStrMap()
	if err != nil {
		return nil, err
	}
	h := &holdings{worker: name}
	for _, id := range slices.Sorted(maps.Keys(tokens)) {
		h.claims = append(h.claims, held{id: id, token: readToken(tokens[id])})
	}
	slices.SortStableFunc(h.claims, func(a, b held) int { return cmp.Compare(a.token, b.token) })
	return h, nil
}

// describePart is how many bodies are read before it is looked at how large they are.
const describePart = 16

// describe adds claimed jobs to a page, but for those that were settled meanwhile. It returns how many claims it got
// through: all, unless the bodies grow too large for one answer.
func (q *Queue) describe(ctx context.Context, queue string, k keys, h *holdings, page *worker.JobPage) (used int, err error) {
	bytes := 0
	for part := range slices.Chunk(h.claims, describePart) {
		rows, err := q.rowsOf(ctx, k, part)
		if err != nil {
			return used, err
		}
		for _, r := range rows {
			bytes += len(r.body)
			info := r.info(queue, worker.PlaceHeld)
			info.Worker = h.worker
			page.Jobs = append(page.Jobs, info)
		}
		if used += len(part); bytes >= maxCallBytes {
			return used, nil
		}
	}
	return used, nil
}

// rowsOf reads what there is of claimed jobs.
func (q *Queue) rowsOf(ctx context.Context, k keys, claims []held) (rows []row, err error) {
	ids := make([]string, len(claims))
	for i, c := range claims {
		ids[i] = c.id
	}
	var commands []rueidis.Completed
	for _, key := range []string{keyJobs, keyHistory, keyCancels} {
		commands = append(commands, q.client.B().Hmget().Key(k.name(key)).Field(ids...).Build())
	}
	replies, err := q.commands(ctx, commands...)
	if err != nil {
		return nil, err
	}
	var columns [3][]rueidis.RedisMessage
	for i := range replies {
		if columns[i], err = replies[i].ToArray(); err != nil {
			return nil, err
		}
	}
	for i, c := range claims {
		r := row{id: c.id, number: strconv.FormatInt(c.token, 10)}
		for j, field := range []*string{&r.body, &r.history, &r.mark} {
			*field, _ = columns[j][i].ToString() // empty when there is none
		}
		if r.body != "" {
			rows = append(rows, r)
		}
	}
	return rows, nil
}

// commands sends commands that only read, under the Queue's timeout, and returns their replies, or the first error.
func (q *Queue) commands(ctx context.Context, commands ...rueidis.Completed) ([]rueidis.RedisMessage, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, q.config.Timeout)
	defer cancel()
	replies := make([]rueidis.RedisMessage, 0, len(commands))
	for _, reply := range q.client.DoMulti(ctx, commands...) {
		message, err := reply.ToMessage()
		if err != nil {
			return nil, err
		}
		replies = append(replies, message)
	}
	return replies, nil
}
