package simulation

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/real-staging-ai/go-worker/internal/history"
)

// What the history hears of the wire: only there it is known what Redis executed, whether its reply arrived or not.

// executed notes what Redis has executed of a call that changes jobs.
func (w *wire) executed(r request, reply []byte) {
	if w.note == nil {
		return
	}
	switch r.step {
	case "settle":
		w.settled(r, readWords(reply))
	case "edit", "replace":
		w.edited(r, readWords(reply))
	}
}

// edited notes an edit that Redis has executed: its reply has the token, and the third argument is the job as it is now.
func (w *wire) edited(r request, reply []string) {
	if len(reply) < 2 || reply[0] != "waiting" {
		return
	}
	args := argsOf(r.raw)
	_, payload, _ := strings.Cut(args[2], "\n")
	token, _ := strconv.ParseInt(reply[len(reply)-1], 10, 64)
	w.note(history.Event{Op: history.OpEdited, Job: args[0], Token: token, Sum: history.Sum([]byte(payload))})
}

// settled notes the verdicts that Redis has executed: the reply tells how many dead jobs were forgotten, and the places of
// those that it ignored.
func (w *wire) settled(r request, reply []string) {
	if len(reply) == 0 {
		return
	}
	if _, err := strconv.Atoi(reply[0]); err != nil { // the session is lost, or Redis refused
		return
	}
	for i, e := range verdictsOf(r.raw) {
		if !slices.Contains(reply[1:], strconv.Itoa(i+1)) {
			w.note(e)
		}
	}
}

// missed notes the jobs of a claim that was executed and whose reply never arrives.
func (w *wire) missed(r request, reply []byte) {
	if w.note == nil || r.step != "claim" {
		return
	}
	words := readWords(reply) // now, next, token, dropped, n, id and body of each
	if len(words) < 5 {
		return
	}
	first, _ := strconv.ParseInt(words[2], 10, 64)
	n, _ := strconv.Atoi(words[4])
	for i := range min(n, (len(words)-5)/2) {
		w.note(history.Event{Op: history.OpClaimLost, Job: words[5+2*i], Token: first + int64(i)})
	}
}

// verdictsOf reads the arguments of settle as its header describes them.
func verdictsOf(raw []byte) (events []history.Event) {
	args := argsOf(raw)
	complete, _ := strconv.Atoi(args[4])
	uniques, _ := strconv.Atoi(args[5])
	add := func(id, token, action string) {
		n, _ := strconv.ParseInt(token, 10, 64)
		events = append(events, history.Event{Op: history.OpSettle, Job: id, Token: n, Text: action})
	}
	for args = args[6+uniques:]; complete > 0; args, complete = args[2:], complete-1 {
		add(args[0], args[1], "complete")
	}
	for ; len(args) >= 6; args = args[6:] {
		add(args[0], args[1], args[2])
	}
	return events
}

// argsOf returns the arguments of a script's call.
func argsOf(raw []byte) []string {
	_, words, err := readCommand(bufio.NewReader(bytes.NewReader(raw)), len(raw))
	if err != nil {
		panic(err)
	}
	keys, _ := strconv.Atoi(words[2])
	return words[3+keys:]
}

// readWords returns the texts and numbers of a reply, whatever it nests them in.
func readWords(reply []byte) (words []string) {
	for r := bufio.NewReader(bytes.NewReader(reply)); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return words
		}
		text := strings.TrimSpace(line[1:])
		switch line[0] {
		case '$', '=':
			size, _ := strconv.Atoi(text)
			if size < 0 {
				words = append(words, "")
				continue
			}
			body := make([]byte, size+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return words
			}
			words = append(words, string(body[:size]))
		case '+', ':', '-':
			words = append(words, text)
		}
	}
}

// heard counts, over all seeds, what rules hang on that would judge nothing without.
type heard struct{ sums[history.Op] }

func (h *heard) add(events []history.Event) {
	counts := make(map[history.Op]int)
	for _, e := range events {
		counts[e.Op]++
	}
	h.sums.add(counts)
}

// judge fails the test when there was nothing of a kind: rules then have judged nothing. Few seeds may well have none.
func (h *heard) judge(t *testing.T, seeds uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, op := range []history.Op{
		history.OpSettle, history.OpClaimLost, history.OpEdit, history.OpEdited, history.OpRunNow, history.OpDelete, history.OpRequeue,
		history.OpPauseQueue,
	} {
		t.Logf("%s: %d", op, h.counts[op])
		if h.counts[op] == 0 && seeds >= defaultSeeds {
			t.Errorf("no %s in any history: the rules about it judged nothing", op)
		}
	}
}
