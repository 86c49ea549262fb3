package model

// Faults are how many of each kind may happen, between any two steps.
type Faults struct {
	Deaths       uint8 // of workers; they start anew
	Pauses       uint8 // of workers: beyond the lease, or shorter
	Stops        uint8 // of workers in good order, with jobs unsettled; they start anew
	Cuts         uint8 // replies lost or slow
	Torn         uint8 // scripts that failed between their writes
	Away         uint8 // outages of the queue's server that are longer than a lease
	Empty        uint8 // losses of the queue's data
	NoMemory     uint8 // pushes that were refused
	ClientDeaths uint8 // of clients; a sweep begins anew
	Repeats      uint8 // of clients' operations by their callers
	Unstorable   uint8 // outcomes that the store refuses for their data
}

// World is what is explored as a whole: who is there, what has happened before, and how many faults may happen.
type World struct {
	Name           string
	Jobs, Workers  int
	Slots          int // attempts at a time of one worker
	Clients        []ClientSpec
	Waiting        []int // jobs that are enqueued at the beginning, from 1
	Dead           []int // jobs that have failed at the beginning
	Suspect        bool  // jobs that are enqueued have crashed workers before
	Poison         int   // the job whose handler kills its worker; 0: none
	AlwaysSucceeds bool  // handlers do
	ClockBack      bool  // with its data the queue loses the time
	Faults         Faults
}

// maxCrashes is Config.MaxCrashes: more than may happen, unless crashes are what the world is about.
func (w *World) maxCrashes() int {
	if w.Poison > 0 {
		return 2
	}
	return 3
}

// threshold is the number of crashes that make a suspect, as redisqueue has it.
func (w *World) threshold() int { return max(1, min(2, w.maxCrashes()-1)) }

// begin is the state in which the world begins: every worker has a session.
func (w *World) begin() State {
	s := State{left: w.Faults}
	for i := range w.Workers {
		s.sessions[i].lease = leaseFresh
		s.workers[i] = process{power: up, session: uint8(i + 1)}
	}
	for _, j := range w.Waiting {
		s.jobs[j-1] = queued{body: true, pending: 1}
		s.rows[j-1] = row{state: waiting}
		if w.Suspect {
			s.jobs[j-1] = queued{body: true, suspects: 1, crashes: uint8(w.threshold())}
		}
		s.ghosts[j-1] = ghost{accepted: true, acked: true}
	}
	for _, j := range w.Dead {
		s.counter++
		s.jobs[j-1] = queued{body: true, dead: failed, attempts: 1}
		s.rows[j-1] = row{failed, s.counter, phaseFinal}
		s.ghosts[j-1] = ghost{accepted: true, acked: true, tries: 1, deserved: true}
	}
	return s
}

// Worlds returns all worlds that are explored.
func Worlds() []World { return append([]World(nil), worlds...) }

var worlds = []World{
	{
		Name: "work", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []ClientSpec{{Kind: Enqueues, Job: 1}, {Kind: Sweeps}},
		Faults:  Faults{Deaths: 1, Cuts: 1, ClientDeaths: 1, Repeats: 1},
	},
	{
		Name: "takeover", Jobs: 1, Workers: 2, Slots: 2, Waiting: []int{1},
		Faults: Faults{Deaths: 1, Pauses: 1, Cuts: 1},
	},
	{
		Name: "outage", Jobs: 1, Workers: 2, Slots: 1, Waiting: []int{1}, AlwaysSucceeds: true,
		Faults: Faults{Away: 1, Cuts: 1},
	},
	{
		Name: "stop", Jobs: 1, Workers: 2, Slots: 1, Waiting: []int{1},
		Faults: Faults{Stops: 2, Cuts: 1},
	},
	{
		Name: "two jobs", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1, 2}, AlwaysSucceeds: true,
		Faults: Faults{Deaths: 1, Pauses: 1},
	},
	{
		Name: "poison", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1, 2}, Poison: 1, AlwaysSucceeds: true,
	},
	{
		Name: "cut scripts", Jobs: 1, Workers: 2, Slots: 2, Waiting: []int{1},
		Faults: Faults{Torn: 1, Deaths: 1},
	},
	{
		Name: "enqueue twice", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []ClientSpec{{Kind: Enqueues, Job: 1}, {Kind: Enqueues, Job: 1}},
		Faults:  Faults{NoMemory: 2, Cuts: 1},
	},
	{
		Name: "data loss", Jobs: 1, Workers: 2, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Sweeps}, {Kind: Enqueues, Job: 1}},
		Faults:  Faults{Empty: 1, Cuts: 1},
	},
	{
		Name: "data and clock lost", Jobs: 1, Workers: 1, Slots: 1, Waiting: []int{1}, ClockBack: true,
		Clients: []ClientSpec{{Kind: Sweeps}},
		Faults:  Faults{Empty: 1, Cuts: 1, Deaths: 1},
	},
	{
		Name: "cancel", Jobs: 1, Workers: 2, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Cancels, Job: 1}},
		Faults:  Faults{Pauses: 1, Cuts: 1, ClientDeaths: 1},
	},
	{
		Name: "cancel a suspect", Jobs: 2, Workers: 2, Slots: 2, Waiting: []int{1, 2}, Suspect: true, AlwaysSucceeds: true,
		Clients: []ClientSpec{{Kind: Cancels, Job: 1}},
		Faults:  Faults{ClientDeaths: 1},
	},
	{
		Name: "requeue", Jobs: 1, Workers: 1, Slots: 1, Dead: []int{1},
		Clients: []ClientSpec{{Kind: Requeues, Job: 1}, {Kind: Requeues, Job: 1}},
		Faults:  Faults{Deaths: 1, Repeats: 1},
	},
	{
		Name: "cancel and requeue", Jobs: 1, Workers: 1, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Cancels, Job: 1}, {Kind: Requeues, Job: 1}},
		Faults:  Faults{Deaths: 1, Repeats: 1},
	},
	{
		Name: "sweep", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []ClientSpec{{Kind: Enqueues, Job: 1}, {Kind: Sweeps}},
		Faults:  Faults{ClientDeaths: 2, Deaths: 1, NoMemory: 1, Repeats: 1},
	},
	{
		Name: "sweep and requeue", Jobs: 1, Workers: 1, Slots: 1, Dead: []int{1},
		Clients: []ClientSpec{{Kind: Requeues, Job: 1}, {Kind: Sweeps}, {Kind: Requeues, Job: 1}},
		Faults:  Faults{ClientDeaths: 1, Deaths: 1},
	},
	{
		Name: "sweep beside requeue", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []ClientSpec{{Kind: Enqueues, Job: 1}, {Kind: Sweeps}, {Kind: Requeues, Job: 1}},
		Faults:  Faults{ClientDeaths: 1, Deaths: 1},
	},
	{
		Name: "push", Jobs: 1, Workers: 1, Slots: 1,
		Clients: []ClientSpec{{Kind: Pushes, Job: 1}, {Kind: Sweeps}, {Kind: Requeues, Job: 1}, {Kind: Pushes, Job: 1}},
		Faults:  Faults{ClientDeaths: 1},
	},
	{
		Name: "races", Jobs: 1, Workers: 1, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Cancels, Job: 1}, {Kind: Sweeps}, {Kind: Requeues, Job: 1}},
		Faults:  Faults{ClientDeaths: 1, Deaths: 1},
	},
	{
		Name: "unstorable", Jobs: 1, Workers: 1, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Sweeps}},
		Faults:  Faults{Unstorable: 1, Deaths: 1},
	},
	{
		Name: "sweep and cancel", Jobs: 1, Workers: 1, Slots: 1, Waiting: []int{1},
		Clients: []ClientSpec{{Kind: Cancels, Job: 1}, {Kind: Sweeps}},
		Faults:  Faults{ClientDeaths: 1, Deaths: 1, Cuts: 1},
	},
}
