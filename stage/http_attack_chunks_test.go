package stage

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// chunkRows are servers that hide between and behind the parts of an answer.
func chunkRows() []serverRow {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	photo := string(jpegRoom(8, 8))
	whole := chunked + fmt.Sprintf("%x\r\n%s\r\n0\r\n", len(photo), photo)
	shortStall := func(c *HTTPConfig) { c.StallTimeout = soon }
	// asked begins after the request, as a server that answers before has no client that reads.
	asked := func(then func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				then(conn)
			}
		}
	}
	first := func(text string, then func(net.Conn)) func(net.Conn) {
		return asked(func(conn net.Conn) {
			_, _ = io.WriteString(conn, text)
			then(conn)
		})
	}
	return []serverRow{
		{name: "a trailer that never comes", change: shortStall, says: "StallTimeout of 50ms is over", raw: first(whole, untilClosed)},
		{name: "a trailer that drips", change: shortStall, says: "StallTimeout of 50ms is over", raw: first(whole+"X-Slow: ", drip)},
		{name: "trailers that never end", says: "could not be understood", raw: asked(func(conn net.Conn) {
			flood(conn, whole, "X-"+secret+": "+secret+"\r\n")
		})},
		{name: "a chunk's extension that drips", change: shortStall, says: "StallTimeout of 50ms is over", raw: first(chunked+"1;", drip)},
		{name: "a chunk's extension that never ends", says: "could not be understood", raw: asked(func(conn net.Conn) {
			flood(conn, chunked+"1;", secret)
		})},
		{name: "an extension at each chunk", says: "could not be understood", raw: asked(func(conn net.Conn) {
			flood(conn, chunked, "1;"+strings.Repeat(secret, 300)+"\r\nx\r\n")
		})},
		{name: "hints that drip", change: shortHeader, says: "HeaderTimeout of 50ms is over", raw: asked(func(conn net.Conn) {
			for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(conn, "HTTP/1.1 102 Processing\r\n\r\n"); err != nil {
					tick.Stop()
					return
				}
			}
		})},
		{name: "HTTP/2", says: "could not be understood", raw: first("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", untilClosed)},
		{name: "HTTP/0.9", says: "could not be understood", raw: first(photo, untilClosed)},
		{name: "a refusal whose body never ends", rule: RuleMissing, class: ErrNotFound, raw: asked(func(conn net.Conn) {
			flood(conn, "HTTP/1.1 404 Not Found\r\n\r\n", secret)
		})},
		{name: "redirects whose bodies never end", rule: RuleRedirects, class: ErrRefused, raw: asked(func(conn net.Conn) {
			flood(conn, "HTTP/1.1 302 Found\r\nLocation: /again?"+secret+"\r\n\r\n", secret)
		})},
	}
}
