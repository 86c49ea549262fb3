// Package redisconf checks what every package on Redis is configured with.
package redisconf

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/redis/rueidis"

	"github.com/real-staging-ai/go-worker"
)

// DefaultNamespace begins the keys of hosts that choose no other.
const DefaultNamespace = "worker"

// CheckNamespace holds a namespace to the alphabet of queue names without the colon, which would make the keys of "a:b"
// and "c" those of "a" and "b:c".
func CheckNamespace(name string) error {
	if worker.CheckQueueName(name) != nil || strings.Contains(name, ":") {
		return fmt.Errorf("Namespace is %q: allowed are up to %d of A-Z a-z 0-9 _ . -", name, worker.MaxQueueLength)
	}
	return nil
}

// CheckClient refuses a client that is nil, or an interface around a nil pointer.
func CheckClient(client rueidis.Client) error {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("client is nil")
	}
	return nil
}
