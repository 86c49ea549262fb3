package redisqueue_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisqueue"
)

// pages goes through all pages of a listing.
func pages(t testing.TB, q *redisqueue.Queue, opts worker.ListOptions) (infos []worker.JobInfo) {
	t.Helper()
	for {
		page, err := q.List(context.Background(), "default", opts)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Jobs), opts.PageLimit())
		infos = append(infos, page.Jobs...)
		if opts.Cursor = page.Next; page.Next == "" {
			return infos
		}
	}
}

func infoIDs(infos []worker.JobInfo) []string {
	names := make([]string, len(infos))
	for i, info := range infos {
		names[i] = info.ID
	}
	return names
}

// fill puts n jobs into the default queue, past the library, in a place: as many as no test wants to enqueue one by one.
func fill(t testing.TB, s *server, n int, place string) {
	t.Helper()
	body, err := worker.EncodeJob(newJob(t, worker.WithID("x")))
	require.NoError(t, err)
	script := `
		for i = ARGV[1], ARGV[2] do
			local id = string.format('j%07d', i)
			redis.call('HSET', KEYS[1], id, (string.gsub(ARGV[3], '"i":"x"', '"i":"' .. id .. '"', 1)))
			if ARGV[4] == 'pending' then
				redis.call('RPUSH', KEYS[2], id)
			else
				redis.call('ZADD', KEYS[2], 2000000000000 + math.floor(i / 1000), id)
			end
		end`
	for from := 0; from < n; from += 10_000 {
		s.ok("EVAL", script, "2", key("jobs"), key(place), strconv.Itoa(from), strconv.Itoa(min(from+10_000, n)-1),
			string(body), place)
	}
}

// What a page costs doesn't depend on how many jobs there are, nor do looks at, edits and ends of single jobs.
func TestPagesCostTheSameWhateverWaits(t *testing.T) {
	const n, limit = 100_000, 50
	ctx := context.Background()
	s := onReal(t)
	cfg, _ := quiet()
	cfg.Lease = time.Hour
	q := s.queue(cfg)
	open(t, q, 0)
	fill(t, s, n, "pending")
	cost := func(what string, most int, do func()) {
		t.Helper()
		done := monitor(t, s)
		do()
		total := 0
		for _, command := range done() {
			switch command[0] {
			case "ZRANGE", "ZREVRANGE":
				from, _ := strconv.Atoi(command[2])
				to, _ := strconv.Atoi(command[3])
				total += to - from + 1
			default:
				total += elements(t, command)
			}
		}
		t.Logf("%s: %d element operations", what, total)
		require.LessOrEqual(t, total, most, what)
	}
	page := func(opts worker.ListOptions) {
		t.Helper()
		opts.Limit = limit
		page, err := q.List(ctx, "default", opts)
		require.NoError(t, err)
		require.Len(t, page.Jobs, limit)
		require.NotEmpty(t, page.Next)
	}
	single := func(id string) {
		info, err := q.Find(ctx, "default", id)
		require.NoError(t, err)
		_, err = q.Edit(ctx, info.Job, info.Job, worker.MoveToTime)
		require.NoError(t, err)
		mark(t, q, id)
		remove(t, q, id)
		_, err = q.Forget(ctx, "default", id)
		require.NoError(t, err)
	}
	cost("the first page of waiting jobs", 5*limit, func() { page(worker.ListOptions{Place: worker.PlaceWaiting}) })
	cost("one in the middle", 5*limit, func() { page(worker.ListOptions{Place: worker.PlaceWaiting, Cursor: "pending 50000"}) })
	cost("a single one that waits", 100, func() { single("j0050000") })
	s.ok("DEL", key("pending"))
	for _, set := range []string{"scheduled", "dead"} {
		place := map[string]worker.Place{"scheduled": worker.PlaceScheduled, "dead": worker.PlaceDead}[set]
		fill(t, s, n, set)
		cost("the first page of "+set+" jobs", 5*limit, func() { page(worker.ListOptions{Place: place}) })
		cost("one in the middle", 5*limit+30, func() {
			page(worker.ListOptions{Place: place, Cursor: "2000000000050 j0050123"})
		})
		if set == "scheduled" {
			cost("a single one that is scheduled", 100, func() { single("j0050001") })
			s.ok("DEL", key(set))
		}
	}
	cost("activity", 10, func() {
		_, err := q.Activity(ctx, "default")
		require.NoError(t, err)
	})
}

// Jobs that are due or died at the same time are told apart by their ids, byte by byte.
func TestPagesOfJobsWithEqualTimes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		names := []string{"B", "Z", "a", "a!", "a0", "aa", "b", "ä", "é", "z", "~"}
		at := time.Now().Add(time.Hour)
		for _, name := range names {
			enqueue(t, q, newJob(t, worker.WithID(name), worker.At(at)))
		}
		byBytes := slices.Sorted(slices.Values(names))
		for limit := 1; limit <= len(names)+1; limit++ {
			require.Equal(t, byBytes, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceScheduled, Limit: limit})), limit)
		}
		for _, name := range names {
			s.ok("ZADD", key("dead"), "1764000000000", name)
		}
		s.ok("DEL", key("scheduled"))
		slices.Reverse(byBytes)
		for limit := 1; limit <= len(names)+1; limit++ {
			require.Equal(t, byBytes, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceDead, Limit: limit})), limit)
		}
		page, err := q.List(context.Background(), "default", worker.ListOptions{
			Place: worker.PlaceDead, Limit: 2, Cursor: "1764000000000 b?"})
		require.NoError(t, err)
		require.Equal(t, []string{"b", "aa"}, infoIDs(page.Jobs), "the page ended with a job that is gone")
	})
}

// Entries that do not count are not listed, and a moved job once a page.
func TestEntriesThatDoNotCountAreNotListed(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ctx := context.Background()
		q := s.queue(redisqueue.Config{})
		jobs := enqueue(t, q, named(t, "canceled", "later", "reopened", "a", "moved")...)
		for _, id := range []string{"canceled", "reopened"} {
			mark(t, q, id)
			remove(t, q, id)
		}
		require.NoError(t, q.Reopen(ctx, jobs[2]))
		for id, delay := range map[string]time.Duration{"later": time.Hour, "moved": time.Hour} {
			info, err := q.Find(ctx, "default", id)
			require.NoError(t, err)
			info.Job.Delay = delay
			before, err := q.Find(ctx, "default", id)
			require.NoError(t, err)
			_, err = q.Edit(ctx, before.Job, info.Job, worker.MoveToTime)
			require.NoError(t, err)
		}
		suspect(t, s, "suspect", 2)
		require.Equal(t, []string{"suspect", "reopened", "a"}, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceWaiting})))
		require.Equal(t, []string{"canceled"}, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceDead})))
		require.ElementsMatch(t, []string{"later", "moved"}, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceScheduled})))
		page, err := q.List(ctx, "default", worker.ListOptions{Place: worker.PlaceWaiting, Limit: 2, Cursor: "pending 0"})
		require.NoError(t, err)
		require.Empty(t, page.Jobs, "neither of the first two counts")
		require.Equal(t, "pending 2", page.Next)
		accounted(t, s, "canceled", "later", "reopened", "a", "moved", "suspect")
	})
}

func TestCursorsOfNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		for place, cursors := range map[worker.Place][]string{
			worker.PlaceWaiting:   {"x", "pending", "pending x", "pending -1", "dead 1", " "},
			worker.PlaceScheduled: {"x", "12", "x id", " id"},
			worker.PlaceDead:      {"x", "12"},
			worker.PlaceHeld:      {"x", "worker x"},
			worker.PlaceUnknown:   {""},
		} {
			for _, cursor := range cursors {
				_, err := q.List(context.Background(), "default", worker.ListOptions{Place: place, Cursor: cursor})
				require.Error(t, err, "place %d, cursor %q", place, cursor)
			}
		}
	})
}

// Bodies are read until a page has some megabytes, but never less than one.
func TestAPageIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		var names []string
		for i := range 9 {
			names = append(names, fmt.Sprint("w", i))
			enqueue(t, q, sized(t, names[i], mebibyte))
		}
		enqueue(t, q, sized(t, "x", 6*mebibyte))
		page, err := q.List(context.Background(), "default", worker.ListOptions{Place: worker.PlaceWaiting})
		require.NoError(t, err)
		require.Equal(t, names[:3], infoIDs(page.Jobs))
		all := append(names, "x")
		require.Equal(t, all, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceWaiting})))
		c := open(t, q, 0)
		claimN(t, c, 10)
		require.Equal(t, all, infoIDs(pages(t, q, worker.ListOptions{Place: worker.PlaceHeld})))
	})
}

func TestGarbageIsListedAsWhatItIs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		body, err := worker.EncodeJob(newJob(t, worker.WithID("other")))
		require.NoError(t, err)
		s.ok("HSET", key("jobs"), "mine", string(body))
		s.ok("RPUSH", key("pending"), "mine", "nobody's")
		s.ok("HSET", key("history"), "mine", "x 99999999999")
		infos := pages(t, q, worker.ListOptions{Place: worker.PlaceWaiting})
		require.Equal(t, []string{"mine"}, infoIDs(infos))
		require.Nil(t, infos[0].Job)
		require.ErrorContains(t, infos[0].Err, "other")
		require.Zero(t, infos[0].Attempts)
		s.ok("ZADD", key("scheduled"), "inf", "mine")
		infos = pages(t, q, worker.ListOptions{Place: worker.PlaceScheduled, Limit: 1})
		require.Len(t, infos, 1)
		require.True(t, infos[0].Due.IsZero())
	})
}

// A listing of what is held goes on where it ended, worker by worker.
func TestPagesOfHeldJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		q := s.queue(redisqueue.Config{})
		var all []string
		for i := range 5 {
			c := open(t, q, 0)
			enqueue(t, q, newJobs(t, 4*i)...)
			all = append(all, ids(claimN(t, c, 4*i))...)
		}
		for _, limit := range []int{1, 4, 7, 16, 100} {
			infos := pages(t, q, worker.ListOptions{Place: worker.PlaceHeld, Limit: limit})
			require.ElementsMatch(t, all, infoIDs(infos))
			workers := make([]string, len(infos))
			for i, info := range infos {
				workers[i] = info.Worker
			}
			require.True(t, slices.IsSorted(workers))
		}
		require.Len(t, s.zset("workers"), 5)
	})
}

func TestInfosLeaveWithTheirWorkers(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		cfg, _ := quiet()
		q := s.queue(cfg)
		ctx := context.Background()
		told := worker.ConsumeOptions{Process: worker.Process{Name: "n", Host: `h"\`, PID: 7, Started: time.UnixMilli(1_764_000_000_123).UTC()}}
		dead, err := q.Consume(ctx, "default", told)
		require.NoError(t, err)
		redisqueue.Kill(dead)
		c, err := q.Consume(ctx, "default", told)
		require.NoError(t, err)
		require.Len(t, s.hash("info"), 2)
		activity, err := q.Activity(ctx, "default")
		require.NoError(t, err)
		require.Len(t, activity.Workers, 2)
		for _, w := range activity.Workers {
			require.Equal(t, told.Process, w.Process)
			require.Equal(t, 10*time.Second, w.Lease)
		}
		time.Sleep(12 * time.Second)
		activity, err = q.Activity(ctx, "default")
		require.NoError(t, err)
		leases := []time.Duration{activity.Workers[0].Lease, activity.Workers[1].Lease}
		require.Contains(t, leases, time.Duration(0), "the lease of the dead one")
		time.Sleep(10 * time.Second)
		require.Len(t, s.hash("info"), 1, "the dead one's went with the takeover")
		s.ok("HSET", key("info"), "nobody", "garbage", strings.SplitN(activity.Workers[0].Name, " ", 2)[0], "garbage")
		_, err = q.Activity(ctx, "default")
		require.NoError(t, err)
		s.ok("HDEL", key("info"), "nobody", activity.Workers[0].Name)
		require.NoError(t, c.Close(ctx))
		require.NotContains(t, s.keyNames(), "info")
		require.NotContains(t, s.keyNames(), "workers")
	})
}

func TestQueuesAreListedOnceAnythingIsPutOnThem(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		ctx := context.Background()
		q := s.queue(redisqueue.Config{})
		names, err := q.Queues(ctx)
		require.NoError(t, err)
		require.Empty(t, names)
		enqueue(t, q, newJob(t, worker.OnQueue("b")))
		enqueue(t, q, newJob(t, worker.OnQueue("b")), newJob(t, worker.OnQueue("a")))
		names, err = q.Queues(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, names)
		s.ok("DEL", "worker:queues")
		enqueue(t, q, newJob(t, worker.OnQueue("a")))
		names, err = q.Queues(ctx)
		require.NoError(t, err)
		require.Empty(t, names, "it is told once")
	})
}
