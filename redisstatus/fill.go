package redisstatus

import (
	"context"

	"github.com/real-staging-ai/go-worker"
)

// fill brings the jobs of rows that lack them, since no producer wrote them: then the first status of a worker does.
// All other statuses leave the job as it is, however often they come.
func (s *Store) fill(ctx context.Context, bare []*worker.Status) error {
	var keys, jobs []string
	size := 0
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		replies := fillScript.RepeatEach(ctx, s.client, s.calls(keys, nil, jobs))
		keys, jobs, size = nil, nil, 0
		for _, reply := range replies {
			if err := reply.Error(); err != nil {
				return err
			}
		}
		return nil
	}
	for _, st := range bare {
		job := envelope(st)
		if job == nil {
			continue
		}
		if len(keys) == maxElements || size > 0 && size+len(job) > maxCallSize {
			if err := flush(); err != nil {
				return err
			}
		}
		keys, jobs, size = append(keys, s.key(st.JobID)), append(jobs, string(job)), size+len(job)
	}
	return flush()
}
