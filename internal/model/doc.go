// Package model is the protocol of queue and status store as a machine of small states, and a search through all of them.
//
// A state holds what Redis, the status store, two workers and up to four clients know of one or two jobs. A step is what
// the real code does at once: one script, one Save, one return of a handler. Between any two steps a worker or a client may
// die, stand still, or repeat itself, and the reply to a call may be lost or late; each world says how many faults of which
// kind may come together. Explore goes through every order of all of that, and judges
//
//   - each state: every accepted job is in one place; rows move forward, and a final one only yields to a Requeue; no
//     handler is started after its round's end, or after an acknowledged cancel, or with a miscounted attempt; a handler of
//     a registered worker holds its claim; nobody is robbed who could renew his lease;
//   - each end, where nothing but faults can happen: every row is final, agrees with how the job was settled, and nothing
//     is left of finished jobs;
//   - the way there: from each state an end is in reach without another fault, and without sweeps, which look again and
//     again, there is no way round and round.
//
// Each rule of the design can be turned off. A needed one (Rules) then has a schedule that breaks something; the shortest
// is kept in schedules, one file a rule. The others (SpareRules) say what they are there for.
//
// # Bounds
//
// One or two jobs, one or two workers with at most two attempts each, three sessions, at most four clients, two attempts a
// round, and the faults of each world: one or two of a kind, up to five together. With all rules on that is 2.6 million
// states in 21 worlds, up to 44 steps from the beginning.
//
// # What is left out
//
//   - Clocks. A job that waits for its time may be due at any moment, a sweep doesn't wait for rows to rest, and leases run
//     out as soon as nobody renews them. That is more than can happen. What is said of time, and that nothing takes too long,
//     is for other tests. That a live worker renews its lease within the grace is assumed: it is what the grace is for.
//   - Order. A claim hands out any job that waits; first in, first out is for other tests, too.
//   - Late requests. A call whose caller has given up is executed at once or never here, though replies to claims and beats may
//     be late. That a settlement, a push or a move arrives after later ones is for the simulation, which holds requests.
//   - Saving running and starting the handler are one step. A worker that stands still between the two, long enough to be
//     robbed, starts a handler too many; it is told at its next beat.
//   - Scripts that fail between their writes can double a job, by design, but not lose it. In the world with such failures
//     a job may be in two places, and what doubles leave behind is not judged.
//   - Progress, checkpoints, wake-ups, announcements, batches, limits, unique keys, expiry and unknown types.
//   - Several Requeues of one job that come too late for each other need a sweep to end, so worlds with such have one.
package model
