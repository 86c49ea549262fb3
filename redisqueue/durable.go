package redisqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/luascript"
)

const (
	// movedPause is about how long a durable call waits for the client to learn where a cluster has moved a queue.
	movedPause = 50 * time.Millisecond
	// maxStale is how many connections of the client's pool a durable call looks at until one of them lives.
	maxStale = 5
)

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

// accept runs a script by which jobs are accepted, or a queue is paused. With Config.WaitReplicas it waits for replicas, too,
// and returns the script's reply together with a *NotReplicatedError when they did not confirm it. The script is sent again
// only when the server said that it has not run: when the connection breaks, be it behind the script's reply, nobody knows.
func (q *Queue) accept(ctx context.Context, queue string, s *script, keys, args []string) (rueidis.RedisMessage, error) {
	if q.config.WaitReplicas == 0 {
		return q.call(ctx, s, keys, args)
	}
	touch := luascript.Call{Keys: touchScript.keysFor(keysOf(q.config.Namespace, queue), "")}
	d := durable{queue: q, script: s, call: luascript.Call{Keys: keys, Args: args}, touch: touch}
	reply, err := d.try(ctx)
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

// line is what a durable call goes over: a client, or one connection of its.
type line interface {
	Do(ctx context.Context, command rueidis.Completed) rueidis.RedisResult
	DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult
}

// try runs the script once, and loads it where it is missing.
func (d *durable) try(ctx context.Context) (rueidis.RedisMessage, error) {
	l, release, err := d.open(ctx)
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	defer release()
	replies := d.send(ctx, l, false)
	if luascript.NoScript(replies[0].Error()) {
		replies = d.send(ctx, l, true)
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

// open finds a line that is alive. One that broke while it was idle is noticed only when something is sent, which must
// not be the script then.
func (d *durable) open(ctx context.Context) (l line, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, d.queue.config.Timeout)
	defer cancel()
	for range maxStale {
		l, release = d.line()
		// A key says which node of a cluster is meant. Blocking takes the connection that a WAIT is about to take, too.
		look := d.queue.client.B().Arbitrary("EXISTS").Keys(d.touch.Keys[0]).Blocking()
		if err = l.Do(ctx, look).Error(); err == nil || serverError(err) {
			return l, release, nil
		}
		release()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, err
}

// line returns what the commands of a call go over, and how it is given back.
func (d *durable) line() (l line, release func()) {
	if client := d.queue.client; client.Mode() != rueidis.ClientModeCluster {
		return client, func() {} // a WAIT among them takes all to one pooled connection, the one that was used last
	}
	// The client would send what a node refuses to another one, and leave the WAIT behind.
	return d.queue.client.Dedicate()
}

// send sends the three commands over one connection. Touch goes whole, as it is short: were it missing on the server, the
// script would have run, and no WAIT could be had for it.
func (d *durable) send(ctx context.Context, l line, whole bool) []rueidis.RedisResult {
	cfg, b := &d.queue.config, d.queue.client.B()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout+cfg.WaitTimeout)
	defer cancel()
	return l.DoMulti(ctx,
		d.script.Command(b, d.call, whole),
		touchScript.Command(b, d.touch, true),
		b.Wait().Numreplicas(int64(cfg.WaitReplicas)).Timeout(ceilMillis(cfg.WaitTimeout)).Build(),
	)
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
