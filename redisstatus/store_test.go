package redisstatus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/redisstatus"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		workertest.TestStatusStore(t, func(*testing.T) worker.StatusStore { return s.store(redisstatus.Config{}) })
	})
}

// A rueidis client of a cluster refuses commands whose keys have different slots.
func TestStoreKeepsTheContractOnAClusterClient(t *testing.T) {
	s := onMini(t)
	s.client = s.connect(false)
	require.Equal(t, rueidis.ClientModeCluster, s.client.Mode())
	cfg := redisstatus.Config{Timeout: time.Minute} // miniredis compiles the script for each status
	workertest.TestStatusStore(t, func(*testing.T) worker.StatusStore { return s.store(cfg) })
}

// random returns one of few statuses of a job, so that all kinds meet.
func random(dice *rand.Rand, id string) worker.Status {
	states := []worker.State{
		worker.StateScheduled, worker.StateQueued, worker.StateRunning, worker.StateRetrying, worker.StateSucceeded,
		worker.StateFailed, worker.StateCanceled,
	}
	tokens := []int64{0, 1, 2, 1 << 30, 1<<48 + 1, 1<<48 + 2}
	s := status(id, states[dice.IntN(len(states))], tokens[dice.IntN(len(tokens))], dice.IntN(4))
	s.Version += int64(dice.IntN(3))
	s.Message = fmt.Sprint(dice.Int())
	return s
}

// The script decides as worker.Status.Supersedes does.
func TestSaveDecidesAsSupersedesDoes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		const jobs, rounds = 200, 30
		dice := rand.New(rand.NewPCG(3, 4))
		store := s.store(redisstatus.Config{})
		rows := make([]*worker.Status, jobs)
		batch := make([]worker.Status, jobs)
		for round := range rounds {
			for i := range batch {
				batch[i] = random(dice, fmt.Sprint("job", i))
			}
			for i, got := range save(t, store, batch...) {
				st, row := &batch[i], rows[i]
				switch {
				case row == nil || st.Version != row.Version && st.Supersedes(row):
					require.Equal(t, worker.Saved{OK: true}, got, "round %d: %+v over %+v", round, st, row)
					rows[i] = new(batch[i])
				case st.Version == row.Version:
					require.Equal(t, worker.Saved{OK: true, Repeated: true}, got, "round %d: %+v over %+v", round, st, row)
				default:
					require.Equal(t, worker.Saved{Current: row.State, Row: row}, got, "round %d: %+v", round, st)
				}
			}
		}
		for i, row := range rows {
			got, err := store.Get(context.Background(), fmt.Sprint("job", i))
			require.NoError(t, err)
			require.Equal(t, row, got)
		}
	})
}

// Savers of overlapping batches never move a row back, and agree on who was stored.
func TestConcurrentSaversNeverMoveARowBack(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		const savers, jobs, rounds = 6, 20, 40
		store := s.store(redisstatus.Config{})
		var work sync.WaitGroup
		var mu sync.Mutex
		highest := make(map[string]int64) // of what was answered OK
		for saver := range savers {
			work.Go(func() {
				dice := rand.New(rand.NewPCG(5, uint64(saver)))
				for range rounds {
					var batch []worker.Status
					for _, job := range dice.Perm(jobs)[:jobs/2] {
						token := int64(1 + dice.IntN(1_000)*savers + saver)
						batch = append(batch, status(fmt.Sprint("job", job), worker.StateRunning, token, running))
					}
					saved, err := store.Save(context.Background(), batch...)
					if err != nil {
						t.Errorf("save: %v", err)
						return
					}
					mu.Lock()
					for i, got := range saved {
						st := &batch[i]
						if got.OK {
							highest[st.JobID] = max(highest[st.JobID], st.Version)
						} else if got.Row.Version <= st.Version {
							t.Errorf("%d was refused over %d", st.Version, got.Row.Version)
						}
					}
					mu.Unlock()
				}
			})
		}
		work.Wait()
		for id, version := range highest {
			row, err := store.Get(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, version, row.Version)
		}
	})
}

func TestRowsExpire(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{FinishedTTL: time.Hour, UnfinishedTTL: 48 * time.Hour})
		between := func(least, most time.Duration) {
			t.Helper()
			require.GreaterOrEqual(t, s.left("a"), least)
			require.LessOrEqual(t, s.left("a"), most)
		}
		save(t, store, status("a", worker.StateQueued, 0, waiting))
		between(47*time.Hour, 48*time.Hour)
		save(t, store, status("a", worker.StateFailed, 5, final))
		between(59*time.Minute, time.Hour)
		save(t, store, status("a", worker.StateQueued, 6, waiting)) // requeued
		between(47*time.Hour, 48*time.Hour)
		save(t, store, status("a", worker.StateSucceeded, 7, final))
		between(59*time.Minute, time.Hour)
		s.ok("PEXPIRE", rowKey("a"), "1000")
		save(t, store, status("a", worker.StateSucceeded, 7, final), status("a2", worker.StateQueued, 0, waiting))
		between(0, time.Second)
	})
}

// The job is kept with its status until it has succeeded.
func TestTheJobIsKeptUntilItSucceeds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{})
		job := &worker.Job{
			ID: "a", Type: "test:note", Queue: "default", Topic: "job:a", Payload: json.RawMessage(`{ "n": 1 }`),
			EnqueuedAt: time.UnixMilli(1_763_930_000_000).UTC(),
		}
		kept := func() *worker.Job {
			t.Helper()
			row, err := store.Get(context.Background(), "a")
			require.NoError(t, err)
			return row.Job
		}
		first := status("a", worker.StateQueued, 0, waiting)
		first.Job = job
		save(t, store, first)
		require.Equal(t, job, kept())
		save(t, store, status("a", worker.StateRunning, 1, running))
		require.Equal(t, job, kept(), "a status without a job leaves it")
		broken := status("a", worker.StateFailed, 1, final)
		broken.Job = &worker.Job{ID: "a", Payload: json.RawMessage("what was not decoded")}
		save(t, store, broken)
		require.Equal(t, job, kept())
		last := status("a", worker.StateSucceeded, 2, final)
		last.Job = job
		require.False(t, save(t, store, last)[0].OK)
		save(t, store, status("a", worker.StateQueued, 3, waiting))
		last.Version = status("a", worker.StateSucceeded, 4, final).Version
		require.True(t, save(t, store, last)[0].OK)
		require.Nil(t, kept())
		fields, err := s.ok("HKEYS", rowKey("a")).AsStrSlice()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"head", "status"}, fields)
	})
}

func TestWhatConcernsTheDataIsPermanent(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{})
		save(t, store, status("a", worker.StateQueued, 1, waiting))
		s.ok("SET", rowKey("taken"), "by another")
		for what, change := range map[string]func(*worker.Status){
			"of another job":      func(st *worker.Status) { st.Type = "other" },
			"stored one":          func(st *worker.Status) { st.Queue = "other" },
			"WRONGTYPE":           func(st *worker.Status) { st.JobID = "taken" },
			"the job id is empty": func(st *worker.Status) { st.JobID = "" },
			"not valid JSON":      func(st *worker.Status) { st.Result = json.RawMessage("{") },
			"is no state":         func(st *worker.Status) { st.State = "not a state" },
			"negative":            func(st *worker.Status) { st.Version = -1 },
		} {
			st := status("a", worker.StateQueued, 1, waiting)
			change(&st)
			_, err := store.Save(context.Background(), status("b", worker.StateQueued, 1, waiting), st)
			require.ErrorContains(t, err, what)
			require.True(t, worker.IsPermanent(err), what)
		}
	})
}

func TestTroubleOfTheServerIsNotPermanent(t *testing.T) {
	s := onReal(t)
	store := s.store(redisstatus.Config{Timeout: time.Second})
	queued := status("a", worker.StateQueued, 0, waiting)
	fails := func(what string) {
		t.Helper()
		_, err := store.Save(context.Background(), queued)
		require.ErrorContains(t, err, what)
		require.False(t, worker.IsPermanent(err), err)
	}
	s.ok("CONFIG", "SET", "maxmemory", "1")
	fails("OOM")
	s.ok("CONFIG", "SET", "maxmemory", "0")
	s.ok("REPLICAOF", "127.0.0.1", "1")
	fails("READONLY")
	s.ok("REPLICAOF", "NO", "ONE")
	s.real.Kill()
	fails("save statuses")
	_, err := store.Get(context.Background(), "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, worker.ErrJobNotFound)
	s.real.Restart()
	require.Eventually(t, func() bool {
		_, err := store.Save(context.Background(), queued)
		return err == nil
	}, 30*time.Second, 10*time.Millisecond)
}

// When memory is out nothing new is accepted, and what runs can end: so queues drain.
func TestJobsCanEndWhenMemoryIsOut(t *testing.T) {
	s := onReal(t)
	store := s.store(redisstatus.Config{})
	save(t, store, status("a", worker.StateQueued, 0, waiting), status("b", worker.StateQueued, 0, waiting))
	s.ok("SET", rowKey("taken"), "by another")
	s.ok("CONFIG", "SET", "maxmemory", "1")
	_, err := store.Save(context.Background(), status("c", worker.StateQueued, 0, waiting))
	require.ErrorContains(t, err, "OOM")
	_, err = store.Save(context.Background(), status("taken", worker.StateRunning, 1, running),
		status("a", worker.StateRunning, 1, running)) // the harmless write that comes first meets the wrong type
	require.ErrorContains(t, err, "WRONGTYPE")
	require.True(t, worker.IsPermanent(err))
	for _, st := range []worker.Status{
		status("a", worker.StateRunning, 1, running), status("a", worker.StateRetrying, 1, putBack),
		status("a", worker.StateFailed, 2, final), status("b", worker.StateSucceeded, 1, final),
		status("unknown", worker.StateSucceeded, 1, final),
		withJob(status("foreign", worker.StateRunning, 1, running), `"foreign"`), // its job comes by a call of its own
	} {
		require.True(t, save(t, store, st)[0].OK, st.State)
	}
	require.Equal(t, `"foreign"`, kept(t, store, "foreign"))
	_, err = store.Get(context.Background(), "c")
	require.ErrorIs(t, err, worker.ErrJobNotFound)
}

func TestOneCallForABatch(t *testing.T) {
	s := onReal(t)
	store := s.store(redisstatus.Config{})
	batch := make([]worker.Status, 400)
	for i := range batch {
		batch[i] = status(fmt.Sprint("job", i), worker.StateQueued, 0, waiting)
	}
	save(t, store, batch...) // loads the script
	s.ok("CONFIG", "RESETSTAT")
	save(t, store, batch...)
	stats, err := s.ok("INFO", "commandstats").ToString()
	require.NoError(t, err)
	require.Contains(t, stats, "cmdstat_evalsha:calls=1,")
}

func TestLargeBatchesAreSplit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{})
		batch := make([]worker.Status, 1_200)
		for i := range batch {
			batch[i] = status(fmt.Sprint("job", i), worker.StateSucceeded, 1, final)
			if i < 12 {
				batch[i].Result = json.RawMessage(`"` + strings.Repeat("r", worker.MaxResultSize-2) + `"`)
			}
		}
		for i, got := range save(t, store, batch...) {
			require.True(t, got.OK, i)
		}
		older := make([]worker.Status, len(batch))
		for i := range older {
			older[i] = status(batch[i].JobID, worker.StateRunning, 1, running)
		}
		for i, got := range save(t, store, older...) {
			require.False(t, got.OK)
			require.Equal(t, batch[i].JobID, got.Row.JobID)
			require.Len(t, got.Row.Result, len(batch[i].Result))
		}
	})
}

// A row that somebody meddled with is replaced as if there were none, and harms no other.
func TestGarbageInARow(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		store := s.store(redisstatus.Config{})
		for _, head := range []string{"", "x", "garbage", "1 2 running q t", strings.Repeat("9", 60)} {
			s.ok("HSET", rowKey("a"), "head", head, "status", "x", "job", "x")
			saved := save(t, store, status("a", worker.StateRunning, 1, running), status("b", worker.StateRunning, 1, running))
			require.True(t, saved[0].OK, head)
			require.True(t, saved[1].OK)
			row, err := store.Get(context.Background(), "a")
			require.NoError(t, err)
			require.Equal(t, worker.StateRunning, row.State)
		}
	})
}

func BenchmarkSave(b *testing.B) {
	const size = 100
	s := onReal(b)
	store := s.store(redisstatus.Config{})
	batch := make([]worker.Status, size)
	for i := range batch {
		batch[i] = status("", worker.StateQueued, 0, waiting)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for saved := 0; saved < b.N; saved += size {
		b.StopTimer()
		for i := range batch { // each job is saved three times
			batch[i].JobID = fmt.Sprintf("0190b2c4-7d3e-7000-8000-%012d", saved/(3*size)*size+i)
			phase := saved / size % 3
			batch[i].Version = int64(phase) << 14
			batch[i].State = []worker.State{worker.StateQueued, worker.StateRunning, worker.StateSucceeded}[phase]
			batch[i].Version |= int64([]int{waiting, running, final}[phase]) << 12
		}
		b.StartTimer()
		if _, err := store.Save(context.Background(), batch...); err != nil {
			b.Fatal(err)
		}
	}
}
