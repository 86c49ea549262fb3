package sse

import (
	"hash/maphash"

	"github.com/real-staging-ai/go-worker"
)

// jobs is what a stream remembers of the jobs that it has shown.
type jobs struct {
	seen   map[string]*shown
	topics []tally
}

// shown is the last that a stream has shown of a job.
type shown struct {
	version int64
	state   worker.State
	topic   int
	sum     uint64 // of the last message
}

// tally counts the jobs of one topic.
type tally struct{ known, unfinished int }

// finished reports whether the topic has jobs and all of them are final.
func (t tally) finished() bool { return t.known > 0 && t.unfinished == 0 }

func newJobs(topics int) *jobs { return &jobs{topics: make([]tally, topics)} }

// last is as much of the last status shown of a job as newer wants; nil if there was none.
func (j *jobs) last(id string) *worker.Status {
	if s := j.seen[id]; s != nil {
		return &worker.Status{Version: s.version, State: s.state}
	}
	return nil
}

// record notes that a status is about to be shown, and reports whether it may be: not if the viewer has seen it or a
// later one.
func (j *jobs) record(topic int, st *worker.Status) bool {
	if !newer(st, j.last(st.JobID)) {
		return false
	}
	job := j.seen[st.JobID]
	if job == nil {
		if j.seen == nil {
			j.seen = make(map[string]*shown, 1)
		}
		job = &shown{topic: topic}
		j.seen[st.JobID] = job
		j.topics[topic].known++
	} else {
		j.count(job, -1)
	}
	job.version, job.state = st.Version, st.State
	j.count(job, 1)
	return true
}

func (j *jobs) count(s *shown, by int) {
	if !s.state.Final() {
		j.topics[s.topic].unfinished += by
	}
}

// finished reports whether every topic has jobs and all of them are final.
func (j *jobs) finished() bool {
	for _, t := range j.topics {
		if !t.finished() {
			return false
		}
	}
	return true
}

// repeats reports whether m is the message that was sent last for a job, and remembers it.
func (j *jobs) repeats(id string, m Message) bool {
	var h maphash.Hash
	h.SetSeed(sumSeed)
	_, _ = h.WriteString(m.Event) // these never fail
	_ = h.WriteByte(0)
	_, _ = h.Write(m.Data)
	sum := h.Sum64() | 1 // zero says that none was sent
	job := j.seen[id]
	repeated := job.sum == sum
	job.sum = sum
	return repeated
}

var sumSeed = maphash.MakeSeed()

// newer reports whether a viewer that was shown last, nil for nothing, is to be shown st. That is a higher version, as only
// what a store accepted is announced; a lower one may follow a job that was refused, as Status.Supersedes knows.
func newer(st, last *worker.Status) bool {
	return last == nil || last.State != worker.StateSucceeded && st.Version > last.Version || st.Supersedes(last)
}

// impossible is final under a token that no status has: nothing replaces it but a status that opens a round.
var impossible = worker.Status{State: worker.StateFailed, Version: -1}

// opensRound reports whether st is the first status of a job, or the first after Client.Requeue.
func opensRound(st *worker.Status) bool { return st.Supersedes(&impossible) }

// firstRun reports whether only statuses of waiting can have come before st in its round. A worker in another process may
// tell of it before the producer has told that the job waits, which the log then refuses as stale.
func firstRun(st *worker.Status) bool {
	const sequence = 1<<12 - 1
	return st.State == worker.StateRunning && st.Attempt == 1 && st.Crashes == 0 && st.Version&sequence == 0
}
