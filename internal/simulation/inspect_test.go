package simulation

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// inspector reads what Redis holds.
type inspector struct{ client rueidis.Client }

const prefix = "{worker:default}:"

// read returns all that the queue's keys hold.
func (i *inspector) read(ctx context.Context) (history.Redis, error) {
	left := history.Redis{Keys: make(map[string][]string), Void: make(map[string]int)}
	names, err := i.client.Do(ctx, i.client.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		return left, err
	}
	for _, name := range names {
		key := strings.TrimPrefix(name, prefix)
		ids, err := i.members(ctx, name, key)
		if err != nil {
			return left, err
		}
		if len(ids) > 0 {
			left.Keys[key] = ids
		}
	}
	void, err := i.client.Do(ctx, i.client.B().Hgetall().Key(prefix+"void").Build()).AsStrMap()
	for id, n := range void {
		left.Void[id], _ = strconv.Atoi(n)
	}
	return left, err
}

func (i *inspector) members(ctx context.Context, name, key string) ([]string, error) {
	kind, _, _ := strings.Cut(key, ":")
	switch kind {
	case "pending", "suspects":
		return i.client.Do(ctx, i.client.B().Lrange().Key(name).Start(0).Stop(-1).Build()).AsStrSlice()
	case "scheduled", "dead", "workers":
		return i.client.Do(ctx, i.client.B().Zrange().Key(name).Min("0").Max("-1").Build()).AsStrSlice()
	case "jobs", "history", "checkpoints", "cancels", "void", "inflight":
		return i.client.Do(ctx, i.client.B().Hkeys().Key(name).Build()).AsStrSlice()
	case "unique":
		if strings.HasPrefix(key, "unique:"+string(seldom)) { // it outlives its job
			return nil, nil
		}
		id, err := i.client.Do(ctx, i.client.B().Get().Key(name).Build()).ToString()
		if rueidis.IsRedisNil(err) { // it was freed just now
			return nil, nil
		}
		return []string{id}, err
	}
	return nil, nil
}

// busy returns the ids that are not at rest: anywhere but among the dead.
func busy(left history.Redis) (ids []string) {
	for key, members := range left.Keys {
		if key == "jobs" {
			for _, id := range members {
				if !slices.Contains(left.Keys["dead"], id) {
					ids = append(ids, id)
				}
			}
		}
		if strings.HasPrefix(key, "inflight:") || key == "scheduled" || key == "cancels" {
			ids = append(ids, members...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
