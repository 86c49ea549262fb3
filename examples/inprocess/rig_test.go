package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/workertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is the service on a queue in memory, inside a bubble of fake time. Its workers run from start on.
type rig struct {
	*service
	t     *testing.T
	db    *sql.DB
	queue *workertest.MemoryQueue

	mu    sync.Mutex
	mails []string
}

// inBubble runs a test on a rig whose pictures are staged by stage.
func inBubble(t *testing.T, stage model, test func(t *testing.T, r *rig)) {
	t.Helper()
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(log)
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, db: newDB(t), queue: workertest.NewQueue()}
		var err error
		r.service, err = newService(r.db, r.queue, stage, r.mail)
		require.NoError(t, err)
		test(t, r)
	})
}

func (r *rig) mail(_ context.Context, to, text string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mails = append(r.mails, to+": "+text)
	return nil
}

// start runs the workers until the test ends.
func (r *rig) start() {
	r.t.Helper()
	require.NoError(r.t, r.pool.Start(r.t.Context()))
	r.t.Cleanup(func() { assert.NoError(r.t, r.pool.Stop(context.Background())) })
}

// after lets time pass, until nothing moves.
func (r *rig) after(d time.Duration) {
	time.Sleep(d) // the bubble's clock
	synctest.Wait()
}

// do sends a request to the API and returns the answer's code and, if it is one, the image.
func (r *rig) do(method, path, body string) (int, image) {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, bytes.NewBufferString(body))
	answer := httptest.NewRecorder()
	r.orders.api().ServeHTTP(answer, req)
	var img image
	if answer.Body.Len() > 0 {
		require.NoError(r.t, json.Unmarshal(answer.Body.Bytes(), &img))
	}
	return answer.Code, img
}

// place orders a picture and returns its id.
func (r *rig) place(order string) string {
	r.t.Helper()
	code, img := r.do(http.MethodPost, "/images", order)
	require.Equal(r.t, http.StatusAccepted, code, img.Error)
	return img.ID
}

func (r *rig) get(id string) image {
	r.t.Helper()
	code, img := r.do(http.MethodGet, "/images/"+id, "")
	require.Equal(r.t, http.StatusOK, code)
	return img
}

// rows counts the images.
func (r *rig) rows() (n int) {
	r.t.Helper()
	require.NoError(r.t, r.db.QueryRowContext(r.t.Context(), `SELECT COUNT(*) FROM images`).Scan(&n))
	return n
}

// newDB opens a database in memory that notes in its table journal every write to a row of images.
func newDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := openDB(t.Context(), ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	exec(t, db, `CREATE TABLE journal (id TEXT, status TEXT, error TEXT);
		CREATE TRIGGER placed AFTER INSERT ON images
		BEGIN INSERT INTO journal VALUES (NEW.id, NEW.status, NEW.error); END;
		CREATE TRIGGER changed AFTER UPDATE ON images
		BEGIN INSERT INTO journal VALUES (NEW.id, NEW.status, NEW.error); END`)
	return db
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query, args...)
	require.NoError(t, err)
}

// journal returns what was written to an image's row, oldest first, without repetitions.
func journal(t *testing.T, db *sql.DB, id string) (written []image) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT status, error FROM journal WHERE id = $1 ORDER BY rowid`, id)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var img image
		require.NoError(t, rows.Scan(&img.Status, &img.Error))
		if len(written) == 0 || written[len(written)-1] != img {
			written = append(written, img)
		}
	}
	require.NoError(t, rows.Err())
	return written
}

// stagesAt is a model that fails until an attempt succeeds.
func stagesAt(attempt int) model {
	return func(_ context.Context, job *worker.Job, _ string) (string, error) {
		if job.Attempt < attempt {
			return "", errNoGPU
		}
		return "https://staged.example/1.jpg", nil
	}
}
