package model

import "fmt"

// Rule is one rule of the protocol that can be turned off.
type Rule uint8

// The rules. Each is written beside its sentence in ruleTexts.
const (
	AllRules Rule = iota // none is off

	SaveBeforeSettle
	RowsMoveForward
	FinalRowsStay
	SucceededStays
	RefusedRowYields
	RunningIsAsked
	OverruledFollowsRow
	OverruledIsReleased
	SaveIsRepeated

	SettleChecksToken
	SettleIsRepeated
	ClaimChecksSession
	FenceBeforeMove
	RemoveWhenEmpty
	DeadlineCompared
	ReaperGrace
	LostClaimsReturn
	UnansweredClaimsWait
	LostAtTwoBeats
	CloseReadsQueue
	CrashesCount
	SuspectsApart
	DestinationFirst
	TokensRise

	EnqueueByID
	EnqueueAsksQueue
	RefusalIsSaved

	CancelDrawsToken
	CancelMarks
	CancelSavesFirst
	CancelRemovesCanceled
	RemoveAsksAnew
	RemoveKeepsUnmarked
	RemovedEntriesVoid
	EndDropsMark

	RequeueAsksPlace
	RequeueSavesFirst
	RequeueFinishesCut
	RoundStartsAnew

	SweepEnqueues
	SweepFinishesRequeue
	ReopenTellsActive
	SweepRecordsDead
	SweepKeepsToken
	SweepRecordsSeenDead
	PushLeavesRounds
	PushAsksAgain

	firstSpare // What follows can be turned off alone without a breach: see Rule.Reason.

	ReturnedAtTwoBeats
	SettleChecksSession
	SettlingIsNotMissing
	RoundReplacesNothing
	RepeatedGoesOn
	SweepReadsAgain

	rules
)

// ruleText is what a rule says and where turning it off shows.
type ruleText struct {
	name   string
	text   string // the sentence of the design that it stands for
	world  string // the world whose exploration finds a schedule without it
	reason string // why none is found: of spare rules
}

var ruleTexts = [rules]ruleText{
	SaveBeforeSettle: {
		name: "save before settle", world: "work",
		text: "Nothing but Save, then Settle, makes a job final.",
	},
	RowsMoveForward: {
		name: "rows move forward", world: "takeover",
		text: "The row moves only to a higher version.",
	},
	FinalRowsStay: {
		name: "final rows stay", world: "cancel",
		text: "Failed and canceled yield only to a queued of the waiting phase with a later token, which only Requeue draws.",
	},
	SucceededStays: {
		name: "succeeded stays", world: "requeue",
		text: "Succeeded is final for ever.",
	},
	RefusedRowYields: {
		name: "a refused row yields", world: "enqueue twice",
		text: "A failed of token 0 (\"not enqueued\") yields to any queued and any claim.",
	},
	RunningIsAsked: {
		name: "running is asked", world: "takeover",
		text: "Save(running) that is not OK, and final: the job is over: don't run it.",
	},
	OverruledFollowsRow: {
		name: "overruled follows the row", world: "takeover",
		text: "Not OK and final: settle it as that.",
	},
	OverruledIsReleased: {
		name: "overruled is released", world: "data and clock lost",
		text: "Not OK and not final: drop the status and release the claim with 1 s delay.",
	},
	SaveIsRepeated: {
		name: "save is repeated", world: "takeover",
		text: "On an error the same statuses come again.",
	},

	SettleChecksToken: {
		name: "settle checks the token", world: "takeover",
		text: "A verdict for a job no longer held under its token is ignored.",
	},
	SettleIsRepeated: {
		name: "settle is repeated", world: "takeover",
		text: "A settle whose reply was lost is repeated, not mistaken for a lost lease.",
	},
	ClaimChecksSession: {
		name: "claim checks the session", world: "takeover",
		text: "Claim refuses a worker that is not registered.",
	},
	FenceBeforeMove: {
		name: "fence before move", world: "two jobs",
		text: "The reaper first fences the worker, then moves its jobs in batches.",
	},
	RemoveWhenEmpty: {
		name: "remove when empty", world: "two jobs",
		text: "A worker that is taken over is removed when nothing of it is left.",
	},
	DeadlineCompared: {
		name: "deadline compared", world: "takeover",
		text: "A takeover acts on the deadline that the reaper saw expired, not on a renewed one.",
	},
	ReaperGrace: {
		name: "reaper's grace", world: "outage",
		text: "The reaper acts on a lease that it saw expired, on a Redis it could reach, for the whole grace.",
	},
	LostClaimsReturn: {
		name: "lost claims return", world: "takeover",
		text: "A claim in Redis that is unknown here at two beats goes back.",
	},
	UnansweredClaimsWait: {
		name: "unanswered claims wait", world: "takeover",
		text: "It goes back only with no claim unanswered since before the first beat.",
	},
	LostAtTwoBeats: {
		name: "lost at two beats", world: "takeover",
		text: "A claim held here that Redis lacks at two beats is lost.",
	},
	CloseReadsQueue: {
		name: "close reads the queue", world: "stop",
		text: "Close reads inflight:<worker>, not local memory.",
	},
	CrashesCount: {
		name: "crashes count", world: "poison",
		text: "A reaped job always goes back with Crashes + 1; at the cap it is handed out to be failed.",
	},
	SuspectsApart: {
		name: "suspects apart", world: "poison",
		text: "A suspect with its last crash to spend runs alone.",
	},
	DestinationFirst: {
		name: "destination first", world: "cut scripts",
		text: "Scripts write the destination before removing from the source.",
	},
	TokensRise: {
		name: "tokens rise", world: "data loss",
		text: "The fencing counter never goes back, also after data loss.",
	},

	EnqueueByID: {
		name: "enqueue by id", world: "enqueue twice",
		text: "Enqueue: waiting or running: nothing happens.",
	},
	EnqueueAsksQueue: {
		name: "enqueue asks the queue", world: "data loss",
		text: "When Save is not OK and the row unfinished, the queue is asked all the same: it may have lost the job.",
	},
	RefusalIsSaved: {
		name: "a refusal is saved", world: "enqueue twice",
		text: "A clear refusal by the queue after Save(queued) saves failed with token 0.",
	},

	CancelDrawsToken: {
		name: "cancel draws a token", world: "cancel",
		text: "Cancelling by a client draws a token, too.",
	},
	CancelMarks: {
		name: "cancel marks", world: "cancel",
		text: "A cancel marks first; a claim that meets the mark hands the job out in order to be canceled.",
	},
	CancelSavesFirst: {
		name: "cancel saves first", world: "cancel",
		text: "A cancel saves before it removes.",
	},
	CancelRemovesCanceled: {
		name: "cancel removes the canceled", world: "cancel",
		text: "A cancel removes the job only when the store has it as canceled: one that is over in another way is settled as that.",
	},
	RemoveAsksAnew: {
		name: "remove asks anew", world: "cancel",
		text: "Each step of a cancel asks anew whether the job waits or is held.",
	},
	RemoveKeepsUnmarked: {
		name: "remove keeps unmarked jobs", world: "cancel and requeue",
		text: "An unmarked job that waits is another round's: it stays.",
	},
	RemovedEntriesVoid: {
		name: "removed entries are void", world: "cancel",
		text: "Removing a job that waits in a list: void + 1, a pop uses one up.",
	},
	EndDropsMark: {
		name: "the end drops the mark", world: "cancel",
		text: "The settlement that ends a job drops its mark.",
	},

	RequeueAsksPlace: {
		name: "requeue asks for the place", world: "requeue",
		text: "Requeue's token is drawn in a script that answers ErrJobActive unless the id is dead or unknown.",
	},
	RequeueSavesFirst: {
		name: "requeue saves first", world: "requeue",
		text: "Requeue: then Save(queued), then the move.",
	},
	RequeueFinishesCut: {
		name: "requeue finishes a cut one", world: "requeue",
		text: "A Requeue that was cut short after its Save can be repeated.",
	},

	RoundStartsAnew: {
		name: "a round starts anew", world: "requeue",
		text: "A round starts with attempts and crashes 0.",
	},
	SweepEnqueues: {
		name: "sweep enqueues", world: "sweep",
		text: "Sweep re-enqueues unfinished rows that the queue does not know.",
	},
	SweepFinishesRequeue: {
		name: "sweep finishes a requeue", world: "sweep and requeue",
		text: "Sweep finishes a Requeue that was cut short.",
	},
	ReopenTellsActive: {
		name: "reopen tells of active jobs", world: "sweep and requeue",
		text: "A round counts as reopened by a sweep only when its job was moved.",
	},
	SweepRecordsDead: {
		name: "sweep records the dead", world: "unstorable",
		text: "Dead, and the row unfinished: Sweep records the end.",
	},
	SweepRecordsSeenDead: {
		name: "sweep records what it saw dead", world: "sweep beside requeue",
		text: "Sweep records the end only of a job that was dead when it asked, before it read the row.",
	},
	PushAsksAgain: {
		name: "push asks again", world: "push",
		text: "Push records the end only of a job that is dead still after it read the row.",
	},
	PushLeavesRounds: {
		name: "push leaves rounds", world: "push",
		text: "Push records no end in a row that opens a round: a Requeue is at it.",
	},
	SweepKeepsToken: {
		name: "sweep keeps the token", world: "sweep and requeue",
		text: "It records the end under the row's own token, which no later writer is overruled by.",
	},

	ReturnedAtTwoBeats: {
		name: "returned at two beats", text: "A claim unknown here goes back at two beats, not at one.", world: "takeover",
		reason: "while no claim is unanswered, what one beat shows is strange or settled, and the token tells which",
	},
	SettleChecksSession: {
		name: "settle checks the session", text: "Settle refuses a worker that is not registered.", world: "two jobs",
		reason: "the token says the same; the answer tells the worker sooner that its lease is lost",
	},
	SettlingIsNotMissing: {
		name: "settling is not missing", text: "A claim is lost at two beats with no settle under way.", world: "stop",
		reason: "the handler of a job that is being settled has returned, so nobody is stopped",
	},
	RoundReplacesNothing: {
		name: "a round replaces nothing", text: "A queued with a token replaces no unfinished row.", world: "requeue",
		reason: "the token of a round lies below those of its claims; it keeps a round from hiding another's in the row",
	},
	RepeatedGoesOn: {
		name: "repeated goes on", text: "A refusal fails no job whose first status was there before.", world: "enqueue twice",
		reason: "\"not enqueued\" yields to a claim; it keeps a viewer from reading failed before succeeded",
	},
	SweepReadsAgain: {
		name: "sweep reads again", text: "Sweep reads the row again after it asked the queue.", world: "sweep",
		reason: "the store's guard ends a job that was enqueued again; it saves the claim",
	},
}

// Rules returns the rules that are needed: turning any of them off shows.
func Rules() []Rule { return between(AllRules, firstSpare) }

// SpareRules returns the rules that this model can do without.
func SpareRules() []Rule { return between(firstSpare, rules) }

func between(before, after Rule) []Rule {
	var all []Rule
	for r := before + 1; r < after; r++ {
		all = append(all, r)
	}
	return all
}

// String returns the rule's name.
func (r Rule) String() string {
	if r == AllRules {
		return "all rules"
	}
	if r >= rules {
		return fmt.Sprintf("rule(%d)", uint8(r))
	}
	return ruleTexts[r].name
}

// Text returns the sentence of the design that the rule stands for.
func (r Rule) Text() string { return ruleTexts[r].text }

// World returns the name of the world in which turning the rule off shows.
func (r Rule) World() string { return ruleTexts[r].world }

// Reason returns what a spare rule is there for, though turning it off alone breaks nothing.
func (r Rule) Reason() string { return ruleTexts[r].reason }
