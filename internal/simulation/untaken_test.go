package simulation

import (
	"slices"

	"github.com/real-staging-ai/go-worker/internal/model"
)

// untaken are the steps of each schedule that the real code may leave out, as it follows the rule that the schedule is
// without. Any other must be taken: the rest of the schedule would be about something else.
var untaken = map[string][]string{
	// Hosts commit the row of what they push themselves, and a push that is refused reads the row again.
	"push asks again":    {"c1 producer.save job=1", "c4 producer.save job=1", "c4 producer.save-refused job=1"},
	"push leaves rounds": {"c1 producer.save job=1", "c4 producer.save job=1", "c4 producer.save-refused job=1"},

	// Nothing is settled before its outcome is saved, so it is neither swept nor claimed again.
	"save before settle": {
		"w1 worker.settle job=1", "c2 sweep.read job=1", "c2 sweep.push job=1", "w1 worker.claim job=1",
		"w1 worker.save-running job=1",
	},
	"save is repeated":     {"w1 worker.settle job=1"},
	"a refused row yields": {"w1 worker.settle job=1"}, // its handler runs first

	// What the store refuses is kept and tried again, so the queue holds the job and a sweep has nothing to do.
	"sweep records the dead": {
		"w1 worker.settle job=1", "c1 sweep.read job=1", "c1 sweep.push job=1", "c1 sweep.read job=1", "c1 sweep.push job=1",
	},

	// The sweep sees that a round was opened, by the row or by the queue's answer.
	"sweep records what it saw dead": {"c2 sweep.record job=1"},
	"reopen tells of active jobs":    {"c2 sweep.push job=1", "c2 sweep.record job=1"},
	"sweep finishes a requeue":       {"c2 sweep.push job=1", "c2 sweep.record job=1"},

	// Requeue saves before it moves, and leaves alone what is active.
	"requeue saves first": {
		"c1 client.requeue.move job=1", "w1 worker.claim job=1", "w1 worker.save-running job=1", "w1 worker.settle job=1",
	},
	"requeue asks for the place": {"c2 client.requeue.save job=1", "c2 client.requeue.move job=1"},

	// A handler that a cancel stops or never lets start has nothing to record of a run.
	"the end drops the mark":      {"w1 worker.save-outcome job=1"}, // it waits for the job's first save
	"cancel removes the canceled": {"c1 client.cancel.remove job=1"},
	"cancel saves first":          {"c1 client.cancel.remove job=1"},
	"cancel marks":                {"w1 worker.save-running job=1"},

	// A job whose last crash is counted is rejected, and one that may crash its worker is handed out alone.
	"crashes count": {
		"w1 worker.save-running job=1", `w1 worker.handler job=1 result="kills its worker"`, "w1 takeover session=3",
		"w1 worker.claim job=1", "w1 worker.save-running job=1",
	},
	"suspects apart": {"w1 worker.claim job=1", "w1 worker.save-outcome job=2"},

	// Replies on one connection come in order: nothing overtakes one that is held, and behind it nothing else is sent.
	"lost at two beats":      {`w1 beat fault="slow"`, "w1 worker.claim job=1"},
	"unanswered claims wait": {"w1 beat", "w1 beat", "w1 worker.save-running job=1"},

	// Who has renewed its lease is not taken over.
	"deadline compared": {"w2 takeover session=1"},

	// What is overruled follows the row, and ends.
	"overruled follows the row": {
		"w1 worker.claim job=1", "w1 worker.save-running job=1", "w1 worker.settle job=1", "w1 worker.claim job=1",
		"w1 worker.save-running job=1",
	},

	// An attempt whose lease is lost says nothing.
	"rows move forward": {"w1 worker.save-running job=1"},
}

// unexpected returns the steps that were left out though they may not be.
func unexpected(rule model.Rule, missing []string) []string {
	left := slices.Clone(missing)
	for _, step := range untaken[rule.String()] {
		if i := slices.Index(left, step); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	return left
}
