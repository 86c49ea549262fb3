package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/internal/history"
)

// ledgerStore is a status store for these tests: it keeps the state of each job as StatusStore wants it, and a ledger
// of all final states that it ever took, in which none may stand twice.
type ledgerStore struct{ client rueidis.Client }

const (
	ledgerRows   = "{ledger}:rows"   // HASH id → "state version token"
	ledgerFinals = "{ledger}:finals" // LIST of "id state token"
)

var _ worker.StatusStore = (*ledgerStore)(nil)

func newLedgerStore(client rueidis.Client) *ledgerStore { return &ledgerStore{client} }

// saveScript keeps the rule of Status.Supersedes. Numbers are of equal length, so that they compare as text: ARGV holds
// id, state, version, token and whether it opens a round, five for each status. It returns the current state where a
// status was refused, and the empty string where it was stored.
var saveScript = rueidis.NewLuaScript(`
local function final(state) return state == 'succeeded' or state == 'failed' or state == 'canceled' end
local none = string.rep('0', 20)
local answers = {}
for i = 1, #ARGV, 5 do
  local id, state, version, token, opens = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4] == 'true'
  local row = redis.call('HGET', KEYS[1], id)
  local had, old, by = string.match(row or '', '^(%a+) (%d+) (%d+)$')
  local ok = version > (old or '')
  if had == 'succeeded' then
    ok = false
  elseif had and final(had) and by == none then
    ok = ok or opens
  elseif had and final(had) then
    ok = opens and token > by
  elseif had and opens and token > none then
    ok = false
  end
  if ok and version ~= old then
    redis.call('HSET', KEYS[1], id, state .. ' ' .. version .. ' ' .. token)
    if final(state) and token > none then
      redis.call('RPUSH', KEYS[2], id .. ' ' .. state .. ' ' .. token)
    end
  end
  answers[#answers + 1] = (ok or version == old) and '' or had
end
return answers`)

func (s *ledgerStore) Save(ctx context.Context, statuses ...worker.Status) ([]worker.Saved, error) {
	args := make([]string, 0, 5*len(statuses))
	for i := range statuses {
		st := &statuses[i]
		waits := st.State == worker.StateQueued || st.State == worker.StateScheduled
		opens := waits && st.Attempt == 0 // what a claim puts back has an attempt
		args = append(args, st.JobID, string(st.State), fmt.Sprintf("%020d", st.Version),
			fmt.Sprintf("%020d", st.Token()), fmt.Sprint(opens))
	}
	answers, err := saveScript.Exec(ctx, s.client, []string{ledgerRows, ledgerFinals}, args).AsStrSlice()
	if err != nil {
		return nil, err
	}
	saved := make([]worker.Saved, len(answers))
	for i, current := range answers {
		saved[i] = worker.Saved{OK: current == "", Current: worker.State(current)}
	}
	return saved, nil
}

// finals returns the ledger as events.
func (s *ledgerStore) finals(t testing.TB) (events []event) {
	t.Helper()
	ctx := context.Background()
	lines, err := s.client.Do(ctx, s.client.B().Lrange().Key(ledgerFinals).Start(0).Stop(-1).Build()).AsStrSlice()
	require.NoError(t, err)
	for _, line := range lines {
		fields := strings.Fields(line)
		require.Len(t, fields, 3)
		token := number(t, fields[2])
		events = append(events, event{Op: opFinal, Proc: "store", Job: fields[0], State: worker.State(fields[1]),
			Token: token})
	}
	return events
}

// rows returns the last state of each job.
func (s *ledgerStore) rows(t testing.TB) map[string]history.Row {
	t.Helper()
	lines, err := s.client.Do(context.Background(), s.client.B().Hgetall().Key(ledgerRows).Build()).AsStrMap()
	require.NoError(t, err)
	rows := make(map[string]history.Row, len(lines))
	for id, line := range lines {
		fields := strings.Fields(line)
		require.Len(t, fields, 3)
		rows[id] = history.Row{State: worker.State(fields[0]), Token: number(t, fields[2])}
	}
	return rows
}

func number(t testing.TB, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	return n
}
