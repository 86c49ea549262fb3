// Package redisstatus is a worker.StatusStore and worker.Getter on Redis hashes that expire, for hosts without a
// database.
//
// Each job has a key of its own, so that a cluster spreads them. It holds the job's last status and, until the job has
// succeeded, the encoded job. When it expires the job's id is free again: enqueueing it twice is then enqueueing two
// jobs.
//
// The store is neither a worker.Unfinished nor a worker.SweepLock: a sweep mends what a queue lost and a database kept,
// and here both would be lost together.
package redisstatus

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/luascript"
	"github.com/real-staging-ai/go-worker/internal/statusjson"
)

const (
	maxElements = 500     // statuses in a call
	maxCallSize = 4 << 20 // bytes in a call, about; one status may have more
)

// Store keeps statuses in Redis. It is safe for concurrent use and needs no closing.
type Store struct {
	client rueidis.Client
	config Config
}

var (
	_ worker.StatusStore = (*Store)(nil)
	_ worker.Getter      = (*Store)(nil)
	_ worker.Pinger      = (*Store)(nil)
)

// New returns a Store that uses client, which stays the caller's: it is never closed here. An error lists all that is
// wrong. Nothing is sent yet.
func New(client rueidis.Client, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(client); err != nil {
		return nil, fmt.Errorf("new Redis status store: %w", err)
	}
	return &Store{client: client, config: cfg}, nil
}

// Ping asks whether the server answers, for as long as Config.Timeout. Of a cluster one node is asked, always the same.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	key := s.key("ping") // no job's, mostly: it makes no difference
	if err := s.client.Do(ctx, s.client.B().Exists().Key(key).Build()).Error(); err != nil {
		return fmt.Errorf("ping redis: %w", err)
	}
	return nil
}

// key is the key of a job's row. The id alone decides its slot.
func (s *Store) key(id string) string { return s.config.Namespace + ":status:" + id }

// Save implements worker.StatusStore. Statuses of jobs that wait are refused when Redis is out of memory; those of jobs
// that run or end are taken even then, so that queues drain. A Permanent error says that a status cannot be encoded or
// is another job's; no other is.
//
// Only statuses that open a round carry their job to Redis; rows that have none get it by a second call. A status that
// was sent again, as its answer got lost on the way, counts as Repeated.
func (s *Store) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	a := &answers{saved: make([]worker.Saved, 0, len(statuses))}
	for len(statuses) > 0 {
		b, err := s.gather(statuses)
		if err != nil {
			return nil, err
		}
		if err := s.send(ctx, b, statuses[:b.size], a); err != nil {
			return nil, fmt.Errorf("save statuses: %w", err)
		}
		statuses = statuses[b.size:]
	}
	if err := s.fill(ctx, a.bare); err != nil {
		return nil, fmt.Errorf("save jobs of statuses: %w", err)
	}
	return a.saved, nil
}

// answers is what the script says about the statuses of a call.
type answers struct {
	saved []worker.Saved
	bare  []*worker.Status // their rows lack the job that they have
}

// send saves a batch and adds its answers.
func (s *Store) send(ctx context.Context, b *batch, statuses []worker.Status, a *answers) error {
	for _, reply := range saveScript.RepeatEach(ctx, s.client, s.calls(b.keys, b.settings, b.args)) {
		messages, err := reply.ToArray()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if len(statuses) == 0 {
				return errReply
			}
			if err := a.add(m, &statuses[0]); err != nil {
				return err
			}
			statuses = statuses[1:]
		}
	}
	if len(statuses) > 0 {
		return errReply
	}
	return nil
}

// calls makes one call of all rows, or on a cluster, where each has a slot of its own, one for each. The settings go
// with each call, the rows share the arguments evenly.
func (s *Store) calls(keys, settings, args []string) []luascript.Call {
	if s.client.Mode() != rueidis.ClientModeCluster {
		return []luascript.Call{{Keys: keys, Args: append(settings, args...)}}
	}
	calls := make([]luascript.Call, len(keys))
	each := len(args) / len(keys)
	for i := range calls {
		its := make([]string, 0, len(settings)+each)
		its = append(append(its, settings...), args[i*each:(i+1)*each]...)
		calls[i] = luascript.Call{Keys: keys[i : i+1], Args: its}
	}
	return calls
}

// errReply is the answer to a reply that a script must not give.
var errReply = errors.New("unexpected reply")

// What save.lua adds to its answer for a status that is stored.
const (
	storedBefore = 1
	storedBare   = 2
)

// add reads what the script says about one status.
func (a *answers) add(m rueidis.RedisMessage, s *worker.Status) error {
	if code, err := m.AsInt64(); err == nil {
		a.saved = append(a.saved, worker.Saved{OK: true, Repeated: code&storedBefore != 0})
		if code&storedBare != 0 && s.Job != nil {
			a.bare = append(a.bare, s)
		}
		return nil
	}
	parts, err := m.AsStrSlice()
	if err != nil || len(parts) != 2 {
		return errReply
	}
	switch parts[0] {
	case "conflict":
		return worker.Permanent(fmt.Errorf(
			"status of %q: it is of type %q on queue %q, the stored one of another job: %s", s.JobID, s.Type, s.Queue, parts[1]))
	case "error":
		return worker.Permanent(fmt.Errorf("status of %q: %s", s.JobID, parts[1]))
	}
	saved := worker.Saved{Current: worker.State(parts[0])}
	if row, err := statusjson.Decode([]byte(parts[1])); err == nil {
		saved.Row = row
	}
	a.saved = append(a.saved, saved)
	return nil
}

// Get implements worker.Getter. Status.Job is set until the job has succeeded, if it was saved with one.
func (s *Store) Get(ctx context.Context, id string) (*worker.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	reply, err := getScript.Run(ctx, s.client, []string{s.key(id)}, nil)
	if err != nil {
		return nil, fmt.Errorf("get status of %q: %w", id, err)
	}
	parts, err := reply.AsStrSlice()
	switch {
	case err != nil || len(parts) != 2:
		return nil, fmt.Errorf("get status of %q: %w", id, errReply)
	case parts[0] == "":
		return nil, fmt.Errorf("get status of %q: %w", id, worker.ErrJobNotFound)
	}
	row, err := statusjson.Decode([]byte(parts[0]))
	if err != nil {
		return nil, fmt.Errorf("get status of %q: %w", id, err)
	}
	if job, err := worker.DecodeJob([]byte(parts[1])); err == nil {
		row.Job = job
	}
	return row, nil
}
