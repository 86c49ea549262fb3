package redisqueue

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// slot is the cluster slot of a key: CRC16 (XMODEM) of its hash tag, as the cluster specification has it.
func slot(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if end := strings.IndexByte(key[open+1:], '}'); end > 0 {
			key = key[open+1 : open+1+end]
		}
	}
	crc := uint16(0)
	for _, c := range []byte(key) {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % 16384
}

func allKeys(k keys, worker string) []string {
	names := []string{
		keyPending, keySuspects, keyJobs, keyHistory, keyCheckpoints, keyCancels, keyVoid, keyWorkers, keyScheduled,
		keyDead, keyWake, keyToken, keyOvertaking, keyInfo, keyRates,
	}
	for i, name := range names {
		names[i] = k.name(name)
	}
	return append(names, k.inflight(worker), k.unique(worker))
}

func TestKeysAreThoseOfTheProtocol(t *testing.T) {
	k := keysOf("worker", "default")
	require.Equal(t, "{worker:default}:pending", k.name(keyPending))
	require.Equal(t, "{worker:default}:inflight:abc", k.inflight("abc"))
	require.Equal(t, uint16(12182), slot("foo")) // as CLUSTER KEYSLOT foo answers
}

// FuzzKeys: all keys of a queue lie in one slot, no two are the same, and no two queues share one.
func FuzzKeys(f *testing.F) {
	f.Add("worker", "worker", "default", "other", "w1")
	f.Add("a", "a", "b:inflight", "b", "inflight:x")
	f.Add("a.b", "a", "-", "_", "")
	f.Add("shop", "shop.eu", "eu:default", "default", "w")
	f.Fuzz(func(t *testing.T, namespace, another, queue, other, name string) {
		for _, text := range []string{queue, other} {
			if worker.CheckQueueName(text) != nil {
				return
			}
		}
		for _, text := range []string{namespace, another} {
			if (Config{Namespace: text}).withDefaults().check() != nil {
				return
			}
		}
		mine := allKeys(keysOf(namespace, queue), name)
		for _, key := range mine {
			require.Equal(t, slot(mine[0]), slot(key), key)
		}
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(mine))), len(mine))
		if other == queue && another == namespace {
			return
		}
		for _, key := range allKeys(keysOf(another, other), name) {
			require.NotContains(t, mine, key)
		}
	})
}
