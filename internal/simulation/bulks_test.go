package simulation

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// What an operator does to all jobs of a kind.

const (
	purges  control = "purge"
	revives control = "requeue-dead"
)

// bulk is one purge, or one reopening of the dead.
type bulk struct {
	what  control
	kind  kind
	place worker.Place
	slot  string
	at    time.Duration // since the beginning
}

func newBulks(dice *rand.Rand) (bulks []bulk) {
	add := func(n int, what control, k kind, place worker.Place) {
		for range n {
			bulks = append(bulks, bulk{what, k, place, producerSlot(dice.IntN(producers)), between(dice, 5*time.Second, time.Minute)})
		}
	}
	add(3, purges, purged, worker.PlaceScheduled)
	add(2, purges, purged, worker.PlaceWaiting)
	add(2, purges, buried, worker.PlaceDead)
	add(3, revives, revived, worker.PlaceDead)
	return bulks
}

// bulk does it until it comes to its end, and requires of each job that was there before that it was done to it.
func (w *world) bulk(b bulk) {
	time.Sleep(b.at)
	w.each(b.slot, func(ctx context.Context, c *worker.Client, p *process) bool {
		there, since := w.waiting(b), time.Now().UnixNano()
		met := make(map[string]bool)
		match := func(info *worker.JobInfo) bool {
			mine := strings.HasPrefix(info.ID, string(b.kind)+"-")
			if mine && !met[info.ID] {
				met[info.ID] = true
				w.nextRound(info.ID)
			}
			return mine
		}
		var err error
		if b.what == purges {
			_, err = c.Purge(ctx, worker.DefaultQueue, b.place, match)
		} else {
			_, err = c.RequeueDead(ctx, worker.DefaultQueue, match)
		}
		_ = w.answer(p, b.what, string(b.kind), err)
		w.confirm(b, p, err, since, there, met)
		return err == nil || w.isCalm()
	})
}

// waiting returns the rows of the jobs of a kind that are in their place, by id.
func (w *world) waiting(b bulk) map[string]*worker.Status {
	rows := make(map[string]*worker.Status)
	keys := map[worker.Place]string{worker.PlaceScheduled: "scheduled", worker.PlaceDead: "dead", worker.PlaceWaiting: "pending"}
	for _, id := range w.left().Keys[keys[b.place]] {
		if row := w.rowOf(id); row != nil && strings.HasPrefix(id, string(b.kind)+"-") {
			rows[id] = row
		}
	}
	return rows
}

// confirm writes what became of the jobs of a bulk that began at since, and blames what it has left as it was.
func (w *world) confirm(b bulk, p *process, err error, since int64, there map[string]*worker.Status, met map[string]bool) {
	if b.what == purges {
		for id := range met {
			w.scribe.Write(history.Event{Proc: p.name, Op: history.OpDelete, Job: id, Result: history.ResultUnknown, Since: since})
		}
	}
	if err != nil || b.place == worker.PlaceWaiting { // which workers may have emptied, and where entries may not count
		return
	}
	left := w.left().Keys
	for id, before := range there {
		row := w.rowOf(id)
		switch same := row.Version == before.Version; {
		case b.what == revives && same && slices.Contains(left["dead"], id): // its row may have had the round before
			w.blame("dead job %s was not reopened", id)
		case b.what == purges && (b.place == worker.PlaceDead || !slices.Contains(left["jobs"], id)):
			w.scribe.Write(history.Event{Proc: p.name, Op: history.OpDelete, Job: id, Result: history.ResultOK, Since: since})
		case b.what == purges && same && slices.Contains(left["scheduled"], id):
			w.blame("scheduled job %s was not purged", id)
		}
	}
}
