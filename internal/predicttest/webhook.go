package predicttest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Webhook makes the call that tells how a prediction is, to where its create asked for. It is signed now, with a secret of
// the form "whsec_…". All calls about a prediction have the same id, as those have that are repeated.
func (a *API) Webhook(t testing.TB, id, secret string) *http.Request {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.findLocked(id)
	if p == nil {
		t.Fatalf("there is no prediction %q", id)
	}
	body, err := json.Marshal(a.showLocked(p, &http.Request{Host: "api.test"}))
	if err != nil {
		t.Fatal(err)
	}
	call, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.Webhook, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	call.Header.Set("webhook-id", "msg_"+id)
	call.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	call.Header.Set("webhook-signature", Sign(secret, "msg_"+id, now, string(body)))
	return call
}

// Sign signs a webhook as Standard Webhooks says.
func Sign(secret, id string, at time.Time, body string) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(fmt.Appendf(nil, "%s.%d.%s", id, at.Unix(), body))
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
