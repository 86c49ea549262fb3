// Package sse streams the statuses of jobs to browsers, as Server-Sent Events.
//
// A [Handler] is an http.Handler over any worker.Subscriber. It hears of each change from whichever process the job runs
// in, sends what a viewer missed, and mends gaps from the host's own store:
//
//	events, err := sse.NewHandler(notifier, sse.Config{
//		Authorize: func(r *http.Request, topic string) error { return owner(r, topic) },
//		Snapshot:  func(ctx context.Context, topic string) ([]worker.Status, error) { return rows(ctx, topic) },
//	})
//	mux.Handle("GET /events", events)
//	server.RegisterOnShutdown(events.Shutdown)
//
// In the page:
//
//	let source
//	const open = () => {
//		source = new EventSource("/events?topic=" + encodeURIComponent(topic))
//		source.addEventListener("status", e => show(JSON.parse(e.data)))
//		source.onerror = () => { // a stream that ended is opened again by the browser; a refused one is not
//			if (source.readyState === EventSource.CLOSED && !finished) setTimeout(open, 5000)
//		}
//	}
//
// # What a viewer sees
//
// The default topic of a job is "job:" followed by its id. A new viewer first reads what the topic's log still holds of
// each job's current round, if that is all of it, and otherwise the job's row from Config.Snapshot; then what is new. A
// viewer that comes back with Last-Event-ID, as browsers do by themselves, goes on where it was. When the log has lost
// that place it is given a snapshot; without Config.Snapshot, what the log holds from its beginning.
//
// On one stream the statuses of a job never go back. While any job of a topic is unfinished, or none is known yet, the
// topic's snapshot is read again at each heartbeat, so that a viewer reaches the final state even when a notification was
// lost. When all are final it is read at every fourth, for a job that was requeued or is new and whose news were lost:
// by default within about a minute. A row that is ahead of the log by a moment is kept back for a second, since what
// led to it is about to be announced. A viewer that reads slowly skips statuses that newer ones of the same job have
// replaced, and is sent away to resume when even that is too much. Viewers that reconnect may see a job's last status
// again.
//
// # Authorisation
//
// EventSource cannot set headers: Config.Authorize looks at a cookie, or at a short-lived signed ticket in the query that
// the page was given. It is asked for each topic when a stream opens, so Config.MaxAge is how long a permission that was
// withdrawn goes on. Frameworks that have authenticated the user themselves, and keep the user outside of
// Request.Context, check the topic in their own handler and call [Handler.Stream]:
//
//	e.GET("/images/:id/events", func(c echo.Context) error { // echo
//		if !mine(c, c.Param("id")) {
//			return echo.ErrForbidden
//		}
//		return events.Stream(c.Response(), c.Request(), "image:"+c.Param("id"))
//	})
//
//	r.GET("/images/:id/events", func(c *gin.Context) { _ = events.Stream(c.Writer, c.Request, topic(c)) }) // gin
//
// # Proxies
//
// Streams tell proxies not to buffer (X-Accel-Buffering, which nginx obeys) and not to transform. Compressing
// middleware and http.TimeoutHandler must leave them alone. Heartbeats keep idle connections open: a proxy's idle timeout
// must be longer than Config.Heartbeat. Browsers open at most six connections to a host over HTTP/1.1, all tabs
// together: serve HTTP/2 to people who keep many open. The timeouts of http.Server don't end streams; the write
// deadline is moved forward by Config.WriteTimeout with each event.
package sse
