// Package history judges runs under faults. Whoever takes part in one (producers, workers, handlers, viewers, the test
// itself) writes down what it does as events; a Checker takes all of them, what is left in Redis at the end and the rows
// of the status store, and tells which of the library's invariants were broken, and the run's figures.
//
//	scribe := history.NewScribe("w1", sink, time.Now)        // sink: a Memory, or a File for a process that may be killed
//	registry.Use(scribe.Handler)                             // start and finish of every handler
//	scribe.Write(history.Event{Op: history.OpEnqueue, Job: job.ID, Sum: history.Sum(job.Payload),
//		Result: history.ResultOf(err, job.ID)})
//	…
//	verdict := (&history.Checker{Events: sink.Events(), Redis: left, Rows: rows}).Check()
//
// Nothing here reads a clock: an event's time is what its writer's clock says, so a run may be one process in fake time or
// many on one machine. Rules about time apply only when Checker.Timing is set.
//
// The numbers of rules are those of the library's invariants, 0 where none says it. An id stands for one job in a run: it is
// not enqueued again, as another one, after it has ended.
package history
