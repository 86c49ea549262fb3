package redisqueue

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// past is what Redis remembers of a job that was put back, as the claim script tells it.
type past struct {
	attempts, crashes int
	canceled          bool   // not of the past: there is a mark
	due               int64  // when it became due again, in ms by Redis's clock; 0 when that isn't known
	trace             string // of the attempt before
}

// readPast reads "attempts crashes canceled due trace", of which the last two may be absent.
func readPast(text string) (p past, err error) {
	fields := strings.Fields(text)
	if len(fields) < 3 || len(fields) > 5 {
		return past{}, &replyError{claimScript.Name, fmt.Sprintf("counts %q", text)}
	}
	if p.attempts, err = strconv.Atoi(fields[0]); err == nil {
		p.crashes, err = strconv.Atoi(fields[1])
	}
	if err == nil && len(fields) > 3 {
		p.due, err = strconv.ParseInt(fields[3], 10, 64)
	}
	if err != nil {
		return past{}, &replyError{claimScript.Name, fmt.Sprintf("counts %q", text)}
	}
	p.canceled = fields[2] == "1"
	if len(fields) == 5 {
		p.trace = traceArg(fields[4])
	}
	return p, nil
}

// addTo tells the job of its past. now is Redis's clock in ms: a job that was canceled is handed out before it is due.
func (p past) addTo(job *worker.Job, now int64) {
	job.Attempt, job.Crashes = p.attempts+1, p.crashes
	job.PreviousTrace = p.trace
	job.RunnableAt = time.Time{}
	if p.due > 0 || p.attempts+p.crashes == 0 {
		job.RunnableAt = runnableAt(job, min(p.due, now))
	}
}

// runnableAt returns since when a job could have run. due is when it became due again, in ms; 0 when it never did.
func runnableAt(job *worker.Job, due int64) time.Time {
	switch {
	case due > 0:
		return time.UnixMilli(due).UTC()
	case job.RunAt.After(job.EnqueuedAt):
		return job.RunAt
	}
	return job.EnqueuedAt
}

// traceArg returns what is kept of a trace: it if it is a W3C traceparent of the version that there is, else nothing.
func traceArg(trace string) string {
	if len(trace) != len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") || trace[:2] == "ff" {
		return ""
	}
	for i := range len(trace) {
		c := trace[i]
		dash := i == 2 || i == 35 || i == 52
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return trace
}
