package stage

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/real-staging-ai/go-worker"
)

// http_answer.go: what a response must be like, and how its body is read.

// accept reports why a response is not one that brings a picture.
func (d *download) accept(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return judgeStatus(d.host, resp, time.Now())
	}
	for _, codings := range resp.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(codings, ",") {
			if c := strings.TrimSpace(coding); c != "" && !strings.EqualFold(c, "identity") {
				return refuse(RuleEncoding, d.host, "the body is compressed, though identity was asked for")
			}
		}
	}
	if resp.ContentLength > d.cfg.MaxBytes {
		return d.tooLarge()
	}
	return nil
}

func (d *download) tooLarge() error {
	return refuse(RuleSize, d.host, "the body has more than %d bytes", d.cfg.MaxBytes)
}

// judgeStatus tells by a status other than 200 and those of redirects whether trying again may help.
func judgeStatus(host string, resp *http.Response, now time.Time) error {
	code := resp.StatusCode
	switch {
	case code == http.StatusNotFound, code == http.StatusGone:
		return refuse(RuleMissing, host, "the server answers %d", code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return refuse(RuleStatus, host, "the server answers %d: it wants credentials, or a signed URL has expired", code)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		err := fmt.Errorf("%s: the server answers %d", host, code)
		if after := retryAfter(resp.Header.Get("Retry-After"), now); after > 0 {
			return worker.RetryAfter(after, err)
		}
		return err
	}
	return refuse(RuleStatus, host, "the server answers %d", code)
}

// retryAfter reads the header of that name, seconds or a date, and returns at most maxRetryAfter. Zero means that it says
// nothing of use. Source: RFC 9110, section 10.2.3.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// body is what the handler reads: the response's body, no longer than MaxBytes and no slower than StallTimeout says.
func (d *download) body(resp *http.Response) io.ReadCloser {
	stall := d.limit("StallTimeout", d.cfg.StallTimeout)
	stall.Stop()
	return &httpBody{download: d, from: resp.Body, left: d.cfg.MaxBytes, stall: stall, patience: d.cfg.StallTimeout}
}

type httpBody struct {
	*download
	from     io.ReadCloser
	left     int64 // bytes that may come
	stall    *time.Timer
	patience time.Duration // what is left of StallTimeout
	came     int           // bytes since it was whole
}

// Read counts the time that it waits, not the time between two calls, which is the reader's.
func (b *httpBody) Read(p []byte) (int, error) {
	began := time.Now()
	b.stall.Reset(b.patience)
	n, err := b.from.Read(p)
	b.stall.Stop()
	b.patience = max(b.patience-time.Since(began), 0)
	if b.came += n; b.came >= stallBytes {
		b.came, b.patience = 0, b.cfg.StallTimeout
	}
	if b.left -= int64(n); b.left < 0 {
		n, b.left = n+int(b.left), 0
		return n, b.tooLarge()
	}
	// A server that notices our going away may end its answer properly, and we may still see that: it is no end.
	if err != nil && (!errors.Is(err, io.EOF) || b.ctx.Err() != nil) {
		err = b.explain(err)
	}
	return n, err
}

// Close ends the download, read to its end or not.
func (b *httpBody) Close() error {
	err := b.from.Close()
	b.stall.Stop()
	b.end()
	return err
}
