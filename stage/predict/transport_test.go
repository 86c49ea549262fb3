package predict

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
)

// In a network without IPv4 all of it is at addresses of a translator: who is meant is the IPv4 address inside.
func TestAddressesOfATranslator(t *testing.T) {
	for address, kind := range map[string]string{
		"[64:ff9b::808:808]:443": "", "[64:ff9b::101:101]:443": "",
		"[64:ff9b::7f00:1]:443": "NAT64 of loopback", "[64:ff9b::a00:7]:443": "NAT64 of private",
		"[64:ff9b::a9fe:a9fe]:443": "NAT64 of metadata", "[64:ff9b::]:443": "NAT64 of unspecified",
		"[64:ff9b:1::808:808]:443": "NAT64", "[64:ff9b::1:808:808]:443": "reserved",
		"8.8.8.8:443": "", "[2606:4700::1111]:443": "", "10.0.0.7:443": "private", "[::ffff:8.8.8.8]:443": "IPv4-mapped",
	} {
		err := wary{kind: kindOf}.check(address)
		if kind == "" {
			assert.NoError(t, err, address)
			continue
		}
		require.Error(t, err, address)
		assert.Regexp(t, "not a public one: "+kind+"$", err.Error())
		assert.True(t, worker.IsPermanent(err))
	}
}

// A host with an inner address and a public one is not refused for good while the public one is down.
func TestAFailureOutweighsARefusal(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer up.Close()
	down, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, down.Close())
	inner, public := "127.0.0.2", "127.0.0.1"
	kind := func(addr netip.Addr) string {
		if addr.Unmap().String() == inner {
			return "private"
		}
		return ""
	}
	for _, row := range []struct {
		port             net.Addr
		addrs            []string
		works, permanent bool
	}{
		{up.Addr(), []string{inner, public}, true, false},
		{up.Addr(), []string{inner}, false, true},
		{down.Addr(), []string{inner, public}, false, false},
		{down.Addr(), []string{public, inner}, false, false},
		{down.Addr(), []string{public}, false, false},
	} {
		_, port, err := net.SplitHostPort(row.port.String())
		require.NoError(t, err)
		conn, err := wary{kind: kind, resolver: resolverOf(t, row.addrs...)}.dial(t.Context(), "tcp", "cdn.test:"+port)
		if row.works {
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			continue
		}
		require.Error(t, err)
		assert.Equal(t, row.permanent, worker.IsPermanent(err), "%v: %v", row.addrs, err)
	}
}

// resolverOf returns a resolver to which every name has the same IPv4 addresses.
func resolverOf(t *testing.T, addrs ...string) *net.Resolver {
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		serving.Go(func() {
			defer there.Close()
			resolve(there, addrs)
		})
		return here, nil
	}}
}

// resolve answers one question, in the form that DNS has over TCP.
func resolve(conn io.ReadWriter, addrs []string) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	asked := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, asked); err != nil {
		return
	}
	end := 12 // of the header; then come labels, the type and the class
	for asked[end] != 0 {
		end += 1 + int(asked[end])
	}
	end += 5
	if isA := binary.BigEndian.Uint16(asked[end-4:]) == 1; !isA {
		addrs = nil
	}
	said := append([]byte{asked[0], asked[1], 0x81, 0x80, 0, 1, 0, byte(len(addrs)), 0, 0, 0, 0}, asked[12:end]...)
	for _, addr := range addrs {
		said = append(said, 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // that name: an A, for a minute
		said = append(said, netip.MustParseAddr(addr).AsSlice()...)
	}
	_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(said))), said...)) // who asked notices
}
