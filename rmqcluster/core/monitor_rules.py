"""What is done for the cluster: labels by the one lease holder, everything that needs a broker by the steward.

The lease is only taken and kept on the side where my own broker sees a majority (S7). Judging a member needs
steady Redis replies and the word of the brokers; electing for an empty label judges nobody. Nothing here touches
a broker's life; the one removal from RabbitMQ is that of a member whose disk is gone (S4).
"""

from rmqcluster.core import monitor_conditions as c
from rmqcluster.core import monitor_outcomes as then
from rmqcluster.core.engine import Rule

MONITOR_RULES: tuple[Rule, ...] = (
    Rule(
        705,
        (c.left_undone,),
        then.end_undone,
        "a record that nobody carries out would only keep everything else waiting",
    ),
    Rule(710, (c.cannot_act, c.lease_is_mine), then.release, "leases are held only where my broker sees a majority"),
    Rule(720, (c.cannot_act,), then.idle, "not in a position to act for the cluster"),
    Rule(730, (c.not_in_charge,), then.idle, "another member holds the lease"),
    Rule(740, (c.lease_free,), then.take_lease, "somebody on the majority side has to act"),
    Rule(
        742,
        (c.steward, c.executor_is_gone),
        then.end_for_the_gone,
        "what a member did ends with its broker, and is looked at anew",
    ),
    Rule(
        743,
        (c.steward, c.joiner_is_listed),
        then.refuse_join,
        "a blank node under a listed name is replaced, it does not just join",
    ),
    Rule(745, (c.epoch_not_on_disk,), then.remember_epoch, "an epoch that was used must outlive an emptied Redis"),
    Rule(746, (c.lease_is_mine, c.failover_asked), then.fail_over, "a person asked for it"),
    Rule(
        747,
        (c.steward, c.operation_to_perform),
        then.perform,
        "what was recorded for the cluster is done by one, and once",
    ),
    Rule(
        748, (c.steward, c.join_is_complete), then.complete_join, "a join ends when its subject is mutual and caught up"
    ),
    Rule(
        749,
        (c.steward, c.joiner_to_admit),
        then.admit,
        "a blank node under a listed name would vote for what it never saw",
    ),
    Rule(
        750,
        (c.steward, c.joiner_lacks_replicas),
        then.grow_for_join,
        "replicas of the subject belong to the operation that brought it",
    ),
    Rule(
        755,
        (c.steward, c.join_under_way, c.look_at_joiner_due),
        then.look,
        "whether queues are whole is read, never assumed",
    ),
    Rule(760, (c.paused,), then.wait_while_paused, "a person asked for no automatic act"),
    Rule(810, (c.steward, c.record_contradicts), then.restore_record, "a majority of the disks outranks Redis"),
    Rule(820, (c.all_silent_at_once,), then.suspect_store, "everyone's heartbeat gone at once is a sick Redis"),
    Rule(830, (c.lease_is_mine, c.somebody_gone), then.remove_gone, "no heartbeat, and the brokers miss it too"),
    Rule(840, (c.lease_is_mine, c.somebody_to_mark), then.mark, "a member whose broker runs is only marked"),
    Rule(850, (c.lease_is_mine, c.master_vacant), then.elect, "joiners need a live, proven member"),
    Rule(
        860,
        (c.steward, c.must_provision, c.all_alike, c.all_are_here),
        then.provision,
        "accounts exist only in the committed cluster",
    ),
    Rule(872, (c.steward, c.look_due), then.look, "whether queues are whole is read, never assumed"),
    Rule(
        876,
        (c.steward, c.no_operation, c.somebody_to_replace),
        then.replace,
        "a member whose disk is gone is a stranger with the same name",
    ),
    Rule(878, (c.steward, c.no_operation, c.replicas_missing), then.grow, "every queue keeps its own target"),
    Rule(
        880,
        (c.steward, c.no_operation, c.leaders_to_spread),
        then.rebalance,
        "leaders move once, after everything is quiet and caught up",
    ),
    Rule(
        885,
        (c.steward, c.must_provision, c.somebody_unlike),
        then.tell_unlike,
        "members would undo each other's provisioning",
    ),
    Rule(887, (c.steward, c.must_provision), then.wait_for_joiners, "queues are declared with their replicas"),
    Rule(990, (), then.idle, "nothing to do"),
)
