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
	CrashesCount
	SuspectsApart
	DestinationFirst
	TokensRise

	EnqueueById
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

	SweepEnqueues
	SweepFinishesRequeue
	ReopenTellsActive
	SweepRecordsDead
	SweepKeepsToken

	rules
)

// ruleText is what a rule says and where turning it off shows.
type ruleText struct {
	name  string
	text  string // the sentence of the design that it stands for
	world string // the world whose exploration finds a schedule without it
}

var ruleTexts = [rules]ruleText{
	SaveBeforeSettle:    {"save before settle", "Nothing but Save, then Settle, makes a job final.", "work"},
	RowsMoveForward:     {"rows move forward", "The row moves only to a higher version.", "takeover"},
	FinalRowsStay:       {"final rows stay", "Failed and canceled yield only to a queued of the waiting phase with a later token, which only Requeue draws.", "cancel"},
	SucceededStays:      {"succeeded stays", "Succeeded is final for ever.", "requeue"},
	RefusedRowYields:    {"a refused row yields", "A failed of token 0 (\"not enqueued\") yields to any queued and any claim.", "enqueue twice"},
	RunningIsAsked:      {"running is asked", "Save(running) that is not OK, and final: the job is over: don't run it.", "takeover"},
	OverruledFollowsRow: {"overruled follows the row", "Not OK and final: settle it as that.", "takeover"},
	OverruledIsReleased: {"overruled is released", "Not OK and not final: drop the status and release the claim with 1 s delay.", "data and clock lost"},
	SaveIsRepeated:      {"save is repeated", "On an error the same statuses come again.", "takeover"},

	SettleChecksToken:    {"settle checks the token", "A verdict for a job no longer held under its token is ignored.", "takeover"},
	SettleIsRepeated:     {"settle is repeated", "A settle whose reply was lost is repeated, not mistaken for a lost lease.", "takeover"},
	ClaimChecksSession:   {"claim checks the session", "Claim refuses a worker that is not registered.", "takeover"},
	FenceBeforeMove:      {"fence before move", "The reaper first fences the worker, then moves its jobs in batches.", "two jobs"},
	RemoveWhenEmpty:      {"remove when empty", "A worker that is taken over is removed when nothing of it is left.", "two jobs"},
	DeadlineCompared:     {"deadline compared", "A takeover acts on the deadline that the reaper saw expired, not on a renewed one.", "takeover"},
	ReaperGrace:          {"reaper's grace", "The reaper acts on a lease that it saw expired, on a Redis it could reach, for the whole grace.", "outage"},
	LostClaimsReturn:     {"lost claims return", "A claim in Redis that is unknown here at two beats goes back.", "takeover"},
	UnansweredClaimsWait: {"unanswered claims wait", "It goes back only with no claim unanswered since before the first beat.", "takeover"},
	LostAtTwoBeats:       {"lost at two beats", "A claim held here that Redis lacks at two beats is lost.", "takeover"},
	CrashesCount:         {"crashes count", "A reaped job always goes back with Crashes + 1; at the cap it is handed out to be failed.", "poison"},
	SuspectsApart:        {"suspects apart", "A suspect with its last crash to spend runs alone.", "poison"},
	DestinationFirst:     {"destination first", "Scripts write the destination before removing from the source.", "cut scripts"},
	TokensRise:           {"tokens rise", "The fencing counter never goes back, also after data loss.", "data loss"},

	EnqueueById:      {"enqueue by id", "Enqueue: waiting or running: nothing happens.", "enqueue twice"},
	EnqueueAsksQueue: {"enqueue asks the queue", "When Save is not OK and the row unfinished, the queue is asked all the same: it may have lost the job.", "data loss"},
	RefusalIsSaved:   {"a refusal is saved", "A clear refusal by the queue after Save(queued) saves failed with token 0.", "enqueue twice"},

	CancelDrawsToken:      {"cancel draws a token", "Cancelling by a client draws a token, too.", "cancel"},
	CancelMarks:           {"cancel marks", "A cancel marks first; a claim that meets the mark hands the job out in order to be canceled.", "cancel"},
	CancelSavesFirst:      {"cancel saves first", "A cancel saves before it removes.", "cancel"},
	CancelRemovesCanceled: {"cancel removes the canceled", "A cancel removes the job only when the store has it as canceled: one that is over in another way is settled as that.", "cancel"},
	RemoveAsksAnew:        {"remove asks anew", "Each step of a cancel asks anew whether the job waits or is held.", "cancel"},
	RemoveKeepsUnmarked:   {"remove keeps unmarked jobs", "An unmarked job that waits is another round's: it stays.", "cancel and requeue"},
	RemovedEntriesVoid:    {"removed entries are void", "Removing a job that waits in a list: void + 1, a pop uses one up.", "cancel"},
	EndDropsMark:          {"the end drops the mark", "The settlement that ends a job drops its mark.", "cancel"},

	RequeueAsksPlace:   {"requeue asks for the place", "Requeue's token is drawn in a script that answers ErrJobActive unless the id is dead or unknown.", "requeue"},
	RequeueSavesFirst:  {"requeue saves first", "Requeue: then Save(queued), then the move.", "requeue"},
	RequeueFinishesCut: {"requeue finishes a cut one", "A Requeue that was cut short after its Save can be repeated.", "requeue"},

	SweepEnqueues:        {"sweep enqueues", "Sweep re-enqueues unfinished rows that the queue does not know.", "sweep"},
	SweepFinishesRequeue: {"sweep finishes a requeue", "Sweep finishes a Requeue that was cut short.", "sweep and requeue"},
	ReopenTellsActive:    {"reopen tells of active jobs", "A round counts as reopened by a sweep only when its job was moved.", "sweep and requeue"},
	SweepRecordsDead:     {"sweep records the dead", "Dead, and the row unfinished: Sweep records the end.", "unstorable"},
	SweepKeepsToken:      {"sweep keeps the token", "It records the end under the row's own token, which no later writer is overruled by.", "sweep and requeue"},
}

// Rules returns all rules that can be turned off.
func Rules() []Rule {
	all := make([]Rule, 0, rules-1)
	for r := AllRules + 1; r < rules; r++ {
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
