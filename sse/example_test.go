package sse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sse"
	"github.com/real-staging-ai/go-worker/workertest"
)

// A host mounts a Handler, authorises by cookie, and lets the page hear of states only. Workers tell the Notifier that
// the Handler subscribes to; here that is one in memory.
func ExampleHandler() {
	notifier := workertest.NewNotifier()
	store := workertest.NewStatusStore()
	events, err := sse.NewHandler(notifier, sse.Config{
		Authorize: func(r *http.Request, topic string) error {
			user, err := r.Cookie("user")
			if err != nil || !strings.HasPrefix(topic, "user:"+user.Value+":") {
				return errors.New("not yours")
			}
			return nil
		},
		Snapshot: func(ctx context.Context, topic string) ([]worker.Status, error) {
			row, err := store.Get(ctx, "image-7") // a host selects its rows by topic
			if err != nil {
				return nil, err
			}
			return []worker.Status{*row}, nil
		},
		Encode: func(e worker.Event) (sse.Message, bool) {
			if e.Status == nil {
				return sse.Message{}, false
			}
			return sse.Message{Event: "job", Data: fmt.Appendf(nil, `{"state":%q}`, e.Status.State)}, true
		},
		EndAfterFinal: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /events", events)
	server := httptest.NewUnstartedServer(mux)
	server.Config.RegisterOnShutdown(events.Shutdown)
	server.Start()
	defer server.Close()

	for i, state := range []worker.State{worker.StateQueued, worker.StateRunning, worker.StateSucceeded} {
		st := worker.Status{JobID: "image-7", Topic: "user:ann:images", State: state, Version: int64(i) << 12}
		_, _ = store.Save(context.Background(), st)
		_ = notifier.Notify(context.Background(), st)
	}

	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet,
		server.URL+"/events?topic=user:ann:images", http.NoBody)
	req.AddCookie(&http.Cookie{Name: "user", Value: "ann"})
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if field, _, _ := strings.Cut(lines.Text(), ":"); field == "event" || field == "data" {
			fmt.Println(lines.Text())
		}
	}
	// Output:
	// event: job
	// data: {"state":"queued"}
	// event: job
	// data: {"state":"running"}
	// event: job
	// data: {"state":"succeeded"}
}
