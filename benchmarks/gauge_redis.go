package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// redisGauge reads a Redis server's own accounts.
//
// Commands are counted as clients sent them, which INFO commandstats doesn't say by itself: it also counts what scripts
// call. So for a system with scripts only those commands are summed that its scripts don't call (kind.sends); the rest
// that its clients send under load is a few a second, and TestSends compares the sum with what MONITOR sees. For a
// system without scripts all are summed. Commands that set up a connection, and the gauge's own, never count.
type redisGauge struct {
	client rueidis.Client
	sends  []string // nil: all
}

// redisReading is what a server had done at one moment.
type redisReading struct {
	cpu    time.Duration // of the server process
	sent   float64       // commands that clients sent
	memory float64       // bytes, without the buffers of clients
}

// setups are commands that don't count.
var setups = []string{"hello", "client", "info", "auth", "select", "ping", "monitor", "config", "flushall", "command", "quit"}

func newRedisGauge(addr string, sends []string) (*redisGauge, error) {
	client, err := newRueidis(addr)
	if err != nil {
		return nil, err
	}
	return &redisGauge{client: client, sends: sends}, nil
}

func (g *redisGauge) read(ctx context.Context) (r redisReading, err error) {
	text, err := g.client.Do(ctx, g.client.B().Info().Section("everything").Build()).ToString()
	if err != nil {
		return r, fmt.Errorf("read redis's INFO: %w", err)
	}
	cpu := 0.0
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch command, isCommand := strings.CutPrefix(name, "cmdstat_"); {
		case isCommand && g.counts(command):
			r.sent += leading(strings.TrimPrefix(value, "calls="))
		case name == "used_cpu_user" || name == "used_cpu_sys":
			cpu += leading(value)
		case name == "used_memory":
			r.memory += leading(value)
		case name == "mem_clients_normal":
			r.memory -= leading(value)
		}
	}
	r.cpu = time.Duration(cpu * float64(time.Second))
	return r, nil
}

func (g *redisGauge) counts(command string) bool {
	command, _, _ = strings.Cut(command, "|") // a subcommand
	if g.sends != nil {
		return slices.Contains(g.sends, command)
	}
	return !slices.Contains(setups, command)
}

// leading reads the number that a text begins with.
func leading(text string) float64 {
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		end = len(text)
	}
	f, _ := strconv.ParseFloat(text[:end], 64)
	return f
}

// watch counts until ctx ends, by name, the commands that clients send, exactly: MONITOR tells them from those of
// scripts. It costs the server too much for anything but an idle one. It calls told with each line that was counted, and
// before them with an empty one, when it is about to count.
func watch(ctx context.Context, addr string, told func(line string)) (map[string]int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to watch redis: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return nil, fmt.Errorf("watch redis: %w", err)
	}
	seen := make(map[string]int)
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil && ctx.Err() != nil:
			return seen, nil
		case err != nil:
			return nil, fmt.Errorf("watch redis: %w", err)
		case line == "+OK\r\n":
			told("")
			continue
		}
		if name := sentCommand(line); name != "" {
			seen[name]++
		}
		told(line)
	}
}

// sentCommand returns the command that a line of MONITOR tells of, in lower case: +<time> [<db> <client>] "NAME" …, or ""
// when a script called it, when it doesn't count, or when the line is another one.
func sentCommand(line string) string {
	_, rest, ok := strings.Cut(line, " [")
	if !ok {
		return ""
	}
	client, command, ok := strings.Cut(rest, `] "`)
	if !ok || strings.HasSuffix(client, " lua") {
		return ""
	}
	name, _, _ := strings.Cut(command, `"`)
	name = strings.ToLower(name)
	if slices.Contains(setups, name) {
		return ""
	}
	return name
}
