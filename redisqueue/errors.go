package redisqueue

import (
	"fmt"
	"strings"

	"github.com/real-staging-ai/go-worker"
)

// refusals are the codes of server errors that mean: not executed, nothing was written. Scripts see to it that an
// error of these kinds can only come from their first write.
var refusals = [...]string{
	"READONLY", "LOADING", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "OOM", "MASTERDOWN", "NOREPLICAS", "MISCONF", "MOVED", "ASK",
}

// refusal reports whether the text of an error reply says that the server did not execute the call. Redis before 7
// puts the code of an error that was raised inside a script in the middle of its message, after a dash.
func refusal(text string) bool {
	for _, code := range refusals {
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "-"), code); ok && (rest == "" || rest[0] == ' ') {
			return true
		}
		if strings.Contains(text, " -"+code+" ") {
			return true
		}
	}
	return false
}

// replyError is a reply that a script must not give: the server is not what it claims to be, or this package is wrong.
type replyError struct {
	script string
	detail string
}

func (e *replyError) Error() string {
	return fmt.Sprintf("script %s: unexpected reply: %s", e.script, e.detail)
}

// explain says what was being done when err came up, and wraps worker.ErrRefused when the server did not do it.
func explain(doing, queue string, err error) error {
	if err == nil {
		return nil
	}
	if serverError(err) && refusal(err.Error()) {
		return fmt.Errorf("%s %s: %w: %w", doing, queue, worker.ErrRefused, err)
	}
	return fmt.Errorf("%s %s: %w", doing, queue, err)
}

// refusedText is an error text that a script met and returned as a part of its reply.
type refusedText string

func (e refusedText) Error() string { return string(e) }
