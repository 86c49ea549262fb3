// Package freeport finds ports for the servers that tests start.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports to choose from are below those that systems give to outgoing connections by themselves, which could
// otherwise take a port between its choice and its use, or while its server is being restarted.
const first, last = 12_000, 31_999

// Choose returns a TCP port of 127.0.0.1 that nobody listens on.
func Choose() (string, error) {
	for range 100 {
		port := strconv.Itoa(first + rand.IntN(last-first+1))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return "", fmt.Errorf("no free port from %d to %d was found", first, last)
}
