// Package predict is a stage.Model on prediction APIs of the Replicate kind: a prediction is created, asked about until
// it is over, and its output copied.
//
//	model, err := predict.New(predict.Config{Token: predict.Secret(token), Version: "…"})
//	handler, err := stage.NewHandler(stage.Config{Source: …, Model: model, Sink: …})
//
// # Paid once
//
// A prediction costs money from the moment it is created, so what is known of it is kept in the job's checkpoint, which
// the Model takes for itself: that one is about to be created, under which key, and then its id. Whatever ends an attempt
// (a crash, a deploy, an error further on), the next one goes on with the same prediction:
//
//   - Its id is known: it is followed again, or its output is copied if it is over.
//   - It may have been created, but its id is not known, since the worker died or no answer came: the next attempt looks
//     for it among the API's latest predictions, and creates one only if there is none. See Config.Match for what that
//     takes, and what it cannot know.
//
// The checkpoint lasts as long as the queue keeps its data. What that loses is paid again.
//
// The original is opened only when a prediction is created: one that was paid is not lost for a signed URL that expires.
//
// A prediction that fails, is canceled by somebody else, takes too long, has no usable output or is one that the API cannot
// tell of is tried once more, with another prediction; then the job fails for good. So a job pays for two at most, if the
// API's list is right: a create that it doesn't show, Config.Settle later, counts as one that had no effect, and is sent
// again as often as the job has attempts. A job that fails while its prediction is fine, since the API or the sink was away
// for all its attempts, keeps it: a Requeue goes on with it. Otherwise a Requeue begins anew.
//
// # How an attempt ends
//
//	the job is canceled, or times out    the prediction is canceled upstream
//	the pool shuts down                  the prediction runs on, the next attempt goes on with it
//	the lease is lost                    the same, as another worker may follow it already; see Config.CancelOnLeaseLost
//	the API says 429                     the job is put off as told (worker.Snooze): nothing was tried, so no attempt is
//	                                     counted; after an hour of nothing else, attempts are (worker.RetryAfter)
//	401, 402, 403, 422, …                the job fails for good
//	5xx, network                         an ordinary error; a create that may have taken effect waits for Config.Settle
//
// What is left running at worst is a prediction whose job failed for another reason, or was canceled while it was put
// off or its create was under way; see Config.Created. It ends by itself: each is created with a Cancel-After of
// Config.Lifetime, which Replicate heeds.
//
// # Parking
//
// With a Config.Webhook no slot is held while the model runs: the job is put off, and the WebhookHandler wakes it, by
// worker.Client.RunNow, when the API says that the prediction is over. A webhook that comes before the job is put off is
// answered so that the API repeats it, and one that never comes is no loss: the job looks by itself after 15 seconds, then
// ever less often, at the latest each five minutes.
package predict
