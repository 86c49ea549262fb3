package redisqueue

import (
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// argsPerJob is how many arguments the enqueue script takes for each job: id, encoded job, and when it is due.
const argsPerJob = 3

// parcel is what one caller sends in one call: at most maxElements jobs, and maxCallBytes unless one job has more.
type parcel struct {
	args  []string // argsPerJob for each job
	keys  []string // the unique keys of those jobs that have one, in their order
	bytes int      // of encoded jobs

	since   time.Time // when it began to wait
	group   *group    // with which it waits, or waited
	outcome outcome
	lone    [argsPerJob]string // the args of a parcel of one job
}

// newParcel returns a parcel for that many jobs.
func newParcel(jobs int) *parcel {
	p := &parcel{}
	if p.args = p.lone[:0]; jobs > 1 {
		p.args = make([]string, 0, argsPerJob*jobs)
	}
	return p
}

// addUnique takes in the unique key of the job that is added next, and returns what its due argument has behind it.
func (p *parcel) addUnique(k keys, job *worker.Job) string {
	p.keys = append(p.keys, k.unique(job.Unique.Key))
	return " " + expiryArg(job)
}

// uniqueKey returns the unique key of the job in a place, and whether it has one.
func (p *parcel) uniqueKey(place int) (key string, ok bool) {
	isUnique := func(place int) bool { return strings.Contains(p.args[argsPerJob*place+2], " ") }
	if !isUnique(place) {
		return "", false
	}
	n := 0
	for i := range place {
		if isUnique(i) {
			n++
		}
	}
	_, key, _ = strings.Cut(p.keys[n], "}:"+keyUnique+":")
	return key, true
}

func (p *parcel) jobs() int { return len(p.args) / argsPerJob }

// outcome is what became of a parcel.
type outcome struct {
	known []knownJob // the jobs that were not new, if the script has run
	err   error      // why it is not known to have run; a *NotReplicatedError when it has, all the same
}

// knownJob is what the script says about a job that was not new.
type knownJob struct {
	place  int // in its parcel, from 0
	answer string
	text   string // the error that it was refused with
}

// readKnown reads the script's reply to a call with that many jobs.
func readKnown(reply rueidis.RedisMessage, jobs int) ([]knownJob, error) {
	answers, err := reply.ToArray()
	if err != nil || len(answers) == 0 {
		return nil, err
	}
	text, err := answers[0].ToString()
	if err != nil {
		return nil, err
	}
	known := make([]knownJob, 0, len(answers)/2)
	for i := 1; i+1 < len(answers); i += 2 {
		index, err := answers[i].AsInt64()
		if err != nil || index < 1 || int(index) > jobs {
			return nil, &replyError{enqueueScript.Name, "index out of range"}
		}
		answer, err := answers[i+1].ToString()
		if err != nil {
			return nil, err
		}
		known = append(known, knownJob{int(index) - 1, answer, text})
	}
	return known, nil
}

// error returns what the caller is told about the job, nil when it waits or runs.
func (k knownJob) error(queue string, p *parcel) error {
	id := p.args[argsPerJob*k.place]
	if holder, ok := strings.CutPrefix(k.answer, "unique "); ok {
		if key, ok := p.uniqueKey(k.place); ok {
			return &worker.DuplicateError{Key: key, Holder: holder}
		}
		return explain("enqueue on", queue, &replyError{enqueueScript.Name, "the holder of no key"})
	}
	switch k.answer {
	case "known":
		return nil
	case "refused":
		return explain("enqueue on", queue, refusedText(k.text))
	}
	return &worker.FinishedError{ID: id, State: finalState(k.answer)}
}

// finalState reads the state of a dead job as history keeps it.
func finalState(letter string) worker.State {
	switch letter {
	case "f":
		return worker.StateFailed
	case "c":
		return worker.StateCanceled
	}
	return ""
}
