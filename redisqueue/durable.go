package redisqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

// movedPause is about how long a durable call waits for the client to learn where a cluster has moved a queue.
const movedPause = 50 * time.Millisecond

// NotReplicatedError says that the server has executed a call, but that fewer replicas than Config.WaitReplicas have
// confirmed it in time. Whether a failover would keep what was written is unknown. Calling again is safe: a job that
// the queue has by then is not made a second one, but replicas are waited for again.
type NotReplicatedError struct {
	Confirmed int   // replicas that have what was written
	Wanted    int   // Config.WaitReplicas
	Err       error // why they could not be asked; nil when they were
}

func (e *NotReplicatedError) Error() string {
	text := fmt.Sprintf("it is unknown whether a failover would keep it: %d of %d replicas confirmed", e.Confirmed, e.Wanted)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns why the replicas could not be asked.
func (e *NotReplicatedError) Unwrap() error { return e.Err }

// caller is how a script is run.
type caller func(ctx context.Context, queue string, s *script, keys, args []string) (rueidis.RedisMessage, error)

// accept runs a script by which jobs are accepted. With Config.WaitReplicas it waits for replicas, too, and returns the
// script's reply together with a *NotReplicatedError when they did not confirm it.
func (q *Queue) accept(ctx context.Context, queue string, s *script, keys, args []string) (rueidis.RedisMessage, error) {
	if q.config.WaitReplicas == 0 {
		return q.call(ctx, s, keys, args)
	}
	touch := luascript.Call{Keys: touchScript.keysFor(keysOf(q.config.Namespace, queue), "")}
	d := durable{queue: q, script: s, call: luascript.Call{Keys: keys, Args: args}, touch: touch}
	reply, err := d.try(ctx)
	if broken(err) && ctx.Err() == nil {
		reply, err = d.try(ctx) // a connection that broke while it was idle is noticed only so
	}
	for deadline := time.Now().Add(q.config.Timeout); moved(err) && time.Now().Before(deadline); {
		if pause(ctx, movedPause) != nil {
			break
		}
		reply, err = d.try(ctx)
	}
	return reply, err
}

// durable is a script with a WAIT behind it. The two go over one connection, as WAIT knows only what its own connection
// has written; and so does touch in between, as a script that finds its jobs in their places writes nothing.
type durable struct {
	queue       *Queue
	script      *script
	call, touch luascript.Call
}

// try runs the script once, and loads it where it is missing.
func (d *durable) try(ctx context.Context) (rueidis.RedisMessage, error) {
	replies := d.send(ctx, false)
	if luascript.NoScript(replies[0].Error()) || luascript.NoScript(replies[1].Error()) {
		replies = d.send(ctx, true)
	}
	reply, err := replies[0].ToMessage()
	if err != nil {
		return reply, err
	}
	unsure := &NotReplicatedError{Wanted: d.queue.config.WaitReplicas, Err: replies[1].Error()}
	if unsure.Err == nil {
		var confirmed int64
		confirmed, unsure.Err = replies[2].AsInt64()
		unsure.Confirmed = int(confirmed)
	}
	if unsure.Err == nil && unsure.Confirmed >= unsure.Wanted {
		return reply, nil
	}
	return reply, unsure
}

// send sends the three commands over one connection.
func (d *durable) send(ctx context.Context, whole bool) []rueidis.RedisResult {
	cfg, client := &d.queue.config, d.queue.client
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout+cfg.WaitTimeout)
	defer cancel()
	b := client.B()
	commands := []rueidis.Completed{
		d.script.Command(b, d.call, whole),
		touchScript.Command(b, d.touch, whole),
		b.Wait().Numreplicas(int64(cfg.WaitReplicas)).Timeout(ceilMillis(cfg.WaitTimeout)).Build(),
	}
	if client.Mode() != rueidis.ClientModeCluster {
		return client.DoMulti(ctx, commands...) // a WAIT among them takes all to one pooled connection
	}
	// DoMulti would send what a node refuses to another one, and leave the WAIT behind.
	dedicated, release := client.Dedicate()
	defer release()
	return dedicated.DoMulti(ctx, commands...)
}

// broken reports whether the connection ended before there was a reply.
func broken(err error) bool {
	return err != nil && !serverError(err) && !errors.As(err, new(*NotReplicatedError)) &&
		!errors.Is(err, context.DeadlineExceeded)
}

// moved reports whether err says that another node of a cluster has the queue: the client learns which by that, in time.
func moved(err error) bool {
	reply, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, is := reply.IsMoved()
	return is
}
