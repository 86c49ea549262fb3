package sqlstatus_test

import (
	"context"
	"database/sql"
	"log"
	"time"

	"github.com/real-staging-ai/go-worker"
	"github.com/real-staging-ai/go-worker/sqlstatus"
)

// A host opens its database with the driver that it imports, and shares it with the store.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://localhost/app") // import _ "github.com/jackc/pgx/v5/stdlib"
	if err != nil {
		log.Fatal(err)
	}
	cfg := sqlstatus.Config{Dialect: sqlstatus.Postgres}
	if err := sqlstatus.Migrate(ctx, db, cfg); err != nil {
		log.Fatal(err)
	}
	store, err := sqlstatus.New(db, cfg)
	if err != nil {
		log.Fatal(err)
	}
	_ = worker.Backend{StatusStore: store} // and a Queue
}

type thumbnail struct {
	ImageID string `json:"image_id"`
}

func (thumbnail) JobType() string { return "thumbnail" }

// The image and its job are there together or not at all.
func ExampleStore_EnqueueTx() {
	upload := func(ctx context.Context, db *sql.DB, store *sqlstatus.Store, client *worker.Client, image string) error {
		job, err := worker.NewJob(thumbnail{ImageID: image}, worker.WithTopic("image:"+image))
		if err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(ctx, "INSERT INTO images (id, job_id) VALUES ($1, $2)", image, job.ID); err != nil {
			return err
		}
		if err := store.EnqueueTx(ctx, tx, job); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		return client.Push(ctx, job) // when this fails, a sweep delivers the job
	}
	_ = upload
}

// A host that prunes keeps what failed for longer than what went well.
func ExampleStore_Prune() {
	nightly := func(ctx context.Context, store *sqlstatus.Store) error {
		if _, err := store.Prune(ctx, 7*24*time.Hour, worker.StateSucceeded); err != nil {
			return err
		}
		_, err := store.Prune(ctx, 90*24*time.Hour)
		return err
	}
	_ = nightly
}
