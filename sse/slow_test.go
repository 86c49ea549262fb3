package sse_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
)

// long pads what brief makes, so that little of it fits in the buffers between the server and a viewer: for HTTP/2 these
// are megabytes.
func long(size int) func(worker.Event) (sse.Message, bool) {
	return func(e worker.Event) (sse.Message, bool) {
		m, ok := brief(e)
		m.Data = append(m.Data, "\n"+strings.Repeat("x", size)...)
		return m, ok
	}
}

func short(m message) string {
	head, _, _ := strings.Cut(m.data, "\n")
	return head
}

func TestSlowViewerSkipsWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{Encode: long(2000), Backlog: 8})
		v := s.view("topic=t", "")
		var all []string
		tell := func(st worker.Status) {
			s.tell(on("t", st)...)
			all = append(all, text(st))
			synctest.Wait()
		}
		for i := range int64(300) {
			tell(status("a", 1, running, i))
			tell(status("b", 2, running, i))
		}
		tell(status("a", 1, final, 0))
		tell(status("b", 2, final, 0))
		var got []string
		for len(got) == 0 || got[len(got)-1] != "b 2.3.0" {
			got = append(got, short(v.next()))
		}
		assert.Less(t, len(got), len(all), "some were skipped")
		at := -1
		for _, g := range got { // in the order in which they were told
			i := slices.Index(all, g)
			require.Greater(t, i, at)
			at = i
		}
		assert.Contains(t, got, "a 1.3.0")
	})
}

func TestViewerThatIsTooSlowIsSentAwayAndResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{Encode: long(2000), Backlog: 8})
		v := s.view("topic=t", "")
		const jobs = 100
		for i := range jobs {
			s.tell(on("t", status(fmt.Sprint("job", i), 1, running, 0))...)
			synctest.Wait()
		}
		seen := map[string]bool{}
		for {
			m, err := v.receive()
			if err != nil {
				break
			}
			seen[short(m)] = true
		}
		assert.Less(t, len(seen), jobs)
		for visits := 0; len(seen) < jobs; visits++ {
			require.Less(t, visits, jobs)
			v = s.view("topic=t", v.id)
			for range min(8, jobs-len(seen)) {
				seen[short(v.next())] = true
			}
			v.body.Close()
		}
	})
}

func TestShutdownDoesNotWaitForViewersThatReadNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		s := open(t, sse.Config{Encode: long(100_000), WriteTimeout: time.Hour, Heartbeat: time.Hour})
		s.speak(speak)
		s.view("topic=t", "")
		for i := range int64(200) {
			s.tell(on("t", status("a", 1, running, i))...)
			synctest.Wait()
		}
		s.handler.Shutdown()
		time.Sleep(2 * time.Second)
		assert.Zero(t, s.handler.Streams())
	})
}

func TestShutdownEndsAStreamThatIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, sse.Config{Encode: long(2000), WriteTimeout: time.Hour})
		for i := range int64(200) {
			s.tell(on("t", status("a", 1, running, i))...)
		}
		v := s.view("topic=t", "")
		synctest.Wait()
		s.handler.Shutdown()
		count := 0
		for _, err := v.receive(); err == nil; _, err = v.receive() {
			count++
		}
		assert.Less(t, count, 100)
	})
}

func TestViewerThatReadsNothingIsSentAwayInTime(t *testing.T) {
	onBoth(t, func(t *testing.T, speak func(*http.Protocols, bool)) {
		s := open(t, sse.Config{Encode: long(100_000), WriteTimeout: 5 * time.Second, Heartbeat: time.Hour})
		s.speak(speak)
		s.view("topic=t", "")
		for i := range int64(200) {
			s.tell(on("t", status("a", 1, running, i))...)
			synctest.Wait()
		}
		time.Sleep(4 * time.Second)
		assert.Equal(t, 1, s.handler.Streams())
		time.Sleep(2 * time.Second)
		assert.Zero(t, s.handler.Streams())
	})
}
