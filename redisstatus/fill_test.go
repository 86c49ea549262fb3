package redisstatus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisstatus"
)

// withJob is a status that carries its job, as those of a worker do.
func withJob(st worker.Status, payload string) worker.Status {
	st.Job = &worker.Job{
		ID: st.JobID, Type: st.Type, Queue: st.Queue, Topic: st.Topic, Payload: json.RawMessage(payload),
		EnqueuedAt: time.UnixMilli(1_763_930_000_000).UTC(),
	}
	return st
}

// kept is the payload of the job that a row has, empty without one.
func kept(t *testing.T, store worker.Getter, id string) string {
	t.Helper()
	row, err := store.Get(context.Background(), id)
	require.NoError(t, err)
	if row.Job == nil {
		return ""
	}
	return string(row.Job.Payload)
}

// The encoded job travels with the status that opens a round; whatever a worker saves of the job after that is small.
func TestOnlyStatusesThatOpenARoundCarryTheJob(t *testing.T) {
	s := onReal(t)
	store := s.store(redisstatus.Config{})
	payload := `"` + strings.Repeat("p", 1<<20) + `"`
	received := func() (n int) {
		info, err := s.ok("INFO", "stats").ToString()
		require.NoError(t, err)
		_, rest, ok := strings.Cut(info, "total_net_input_bytes:")
		require.True(t, ok, info)
		_, err = fmt.Sscan(rest, &n)
		require.NoError(t, err)
		return n
	}
	save(t, store, withJob(status("a", worker.StateQueued, 0, waiting), payload))
	before := received()
	for i := range int64(20) {
		progress := withJob(status("a", worker.StateRunning, 1, running), payload)
		progress.Version += i
		save(t, store, progress)
	}
	save(t, store, withJob(status("a", worker.StateRetrying, 1, putBack), payload))
	save(t, store, withJob(status("a", worker.StateFailed, 2, final), payload))
	require.Less(t, received()-before, 64<<10)
	require.Equal(t, payload, kept(t, store, "a"))
	save(t, store, withJob(status("a", worker.StateQueued, 3, waiting), `"requeued"`))
	require.Equal(t, `"requeued"`, kept(t, store, "a"))
}

// A row that no producer wrote, as its own expired, gets its job with the first status of a worker.
func TestRowsWithoutAJobGetIt(t *testing.T) {
	for name, alone := range map[string]bool{"standalone": true, "cluster": false} {
		t.Run(name, func(t *testing.T) {
			s := onMini(t)
			s.client = s.connect(alone)
			store := s.store(redisstatus.Config{Timeout: time.Minute})
			save(t, store, withJob(status("a", worker.StateRunning, 1, running), `"a"`),
				status("none", worker.StateRunning, 1, running),
				withJob(status("done", worker.StateSucceeded, 1, final), `"done"`),
				withJob(status("failed", worker.StateFailed, 1, final), `"failed"`))
			require.Equal(t, `"a"`, kept(t, store, "a"))
			require.Equal(t, `"failed"`, kept(t, store, "failed"))
			require.Empty(t, kept(t, store, "none"))
			require.Empty(t, kept(t, store, "done"))
			require.Greater(t, s.left("a"), 29*24*time.Hour)
			s.ok("HDEL", rowKey("a"), "job") // as if the call had been cut between its two steps
			again := withJob(status("a", worker.StateRunning, 1, running), `"a"`)
			require.Equal(t, []worker.Saved{{OK: true, Repeated: true}}, save(t, store, again))
			require.Equal(t, `"a"`, kept(t, store, "a"))
			save(t, store, withJob(status("a", worker.StateRetrying, 1, putBack), `"other"`))
			require.Equal(t, `"a"`, kept(t, store, "a"))
			again.Job = nil
			require.False(t, save(t, store, again)[0].OK)
		})
	}
}

func TestManyLargeJobsAreFilledIn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{})
		batch := make([]worker.Status, 1_200)
		for i := range batch {
			batch[i] = status(fmt.Sprint("job", i), worker.StateRunning, 1, running)
			switch {
			case i < 12:
				batch[i] = withJob(batch[i], `"`+strings.Repeat("p", 1<<19)+`"`)
			case i%3 > 0:
				batch[i] = withJob(batch[i], fmt.Sprint(i))
			}
		}
		save(t, store, batch...)
		for i := range batch {
			want := ""
			if job := batch[i].Job; job != nil {
				want = string(job.Payload)
			}
			require.Equal(t, want, kept(t, store, batch[i].JobID), i)
		}
	})
}

// between is a client that does something after its first round of scripts, before anybody else has the answers.
type between struct {
	rueidis.Client
	calls int
	do    func()
}

func (b *between) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	replies := b.Client.DoMulti(ctx, commands...)
	if b.calls++; b.calls == 1 {
		b.do()
	}
	return replies
}

// What becomes of a row before its job is filled in wins.
func TestJobsAreFilledInOnlyWhereTheyStillLack(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		other := s.store(redisstatus.Config{})
		save(t, other, withJob(status("x", worker.StateRunning, 1, running), `1`)) // loads the scripts
		for what, c := range map[string]struct {
			do   func(id string)
			want func(t *testing.T, id string)
		}{
			"succeeded": {
				do: func(id string) { save(t, other, status(id, worker.StateSucceeded, 1, final)) },
				want: func(t *testing.T, id string) {
					require.Empty(t, kept(t, other, id))
					require.EqualValues(t, 2, must(s.ok("HLEN", rowKey(id)).AsInt64()))
				},
			},
			"requeued": {
				do: func(id string) {
					save(t, other, withJob(status(id, worker.StateFailed, 1, final), `"old"`),
						withJob(status(id+"-", worker.StateQueued, 0, waiting), `1`))
					save(t, other, withJob(status(id, worker.StateQueued, 2, waiting), `"new"`))
				},
				want: func(t *testing.T, id string) { require.Equal(t, `"new"`, kept(t, other, id)) },
			},
			"expired": {
				do:   func(id string) { s.ok("DEL", rowKey(id)) },
				want: func(t *testing.T, id string) { require.Zero(t, must(s.ok("EXISTS", rowKey(id)).AsInt64())) },
			},
			"taken": {
				do: func(id string) { s.ok("DEL", rowKey(id)); s.ok("SET", rowKey(id), "by another") },
				want: func(t *testing.T, id string) {
					require.Equal(t, "by another", must(s.ok("GET", rowKey(id)).ToString()))
				},
			},
		} {
			t.Run(what, func(t *testing.T) {
				client := &between{Client: s.client, do: func() { c.do(what) }}
				store, err := redisstatus.New(client, redisstatus.Config{})
				require.NoError(t, err)
				saved := save(t, store, withJob(status(what, worker.StateRunning, 1, running), `"first"`),
					withJob(status(what+" beside", worker.StateRunning, 1, running), `"beside"`))
				require.Equal(t, []worker.Saved{{OK: true}, {OK: true}}, saved)
				require.Equal(t, 2, client.calls, "save and fill")
				c.want(t, what)
				require.Equal(t, `"beside"`, kept(t, other, what+" beside"))
			})
		}
	})
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// A row with its job takes one call for each status.
func TestNothingIsFilledInWhereTheJobIsKept(t *testing.T) {
	s := onMini(t)
	client := &between{Client: s.client, do: func() {}}
	store, err := redisstatus.New(client, redisstatus.Config{})
	require.NoError(t, err)
	save(t, store, withJob(status("warm", worker.StateRunning, 1, running), `1`)) // loads the scripts
	for i, st := range []worker.Status{
		status("a", worker.StateQueued, 0, waiting), status("a", worker.StateRunning, 1, running),
		status("a", worker.StateRunning, 1, running), status("a", worker.StateFailed, 1, final),
		status("b", worker.StateSucceeded, 1, final), status("b", worker.StateSucceeded, 1, final),
	} {
		client.calls = 0
		save(t, store, withJob(st, `"a"`))
		require.Equal(t, 1, client.calls, i)
	}
}
