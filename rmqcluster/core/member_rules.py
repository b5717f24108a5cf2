"""What a member does with its own broker and disk. First match wins; `engine.check` keeps the numbers rising.

Sections: 1xx leaving, 2xx identity (before any boot), 3xx booting with data, 4xx blank disks, 5xx a broker
that is up but unproven, 6xx a proven member. Only disks whose marker does not say *member* are ever emptied.
"""

from rmqcluster.core import member_conditions as c
from rmqcluster.core import member_operations as turn
from rmqcluster.core import member_outcomes as then
from rmqcluster.core import member_record as record
from rmqcluster.core.engine import Rule

MEMBER_RULES: tuple[Rule, ...] = (
    Rule(105, (record.recovering, record.recovered_already), turn.end_recover, "what was done once is not done again"),
    Rule(110, (c.stop_asked, c.broker_down), then.leave_and_exit, "a stop was asked and the broker has ended"),
    Rule(
        112,
        (c.stop_asked, c.broker_ready, c.stop_to_prepare, record.no_operation),
        turn.ask_stop,
        "one disruptive operation at a time, and at most one member down by choice",
    ),
    Rule(
        114,
        (c.stop_asked, c.broker_ready, c.stop_to_prepare, record.stop_is_granted),
        turn.perform,
        "no queue may need this member, and its leaders move away first",
    ),
    Rule(
        116,
        (c.stop_asked, c.broker_ready, c.stop_to_prepare),
        turn.wait_to_stop,
        "a stop waits for what is under way, within its budget",
    ),
    Rule(
        120, (c.stop_asked, c.stop_not_signalled), then.leave_and_stop, "leave politely, then stop the broker in order"
    ),
    Rule(130, (c.stop_asked, c.stop_budget_spent), then.kill_overdue, "every wait has an end"),
    Rule(140, (c.stop_asked,), then.wait_for_stop, "the broker is stopping in order"),
    Rule(
        141,
        (record.recovering, record.recover_unprepared, c.somebody_serves),
        turn.refuse_recover,
        "going on alone beside a majority would make two clusters",
    ),
    Rule(
        142,
        (record.recovering, record.recover_unprepared, c.broker_up, c.not_busy),
        turn.kill_to_recover,
        "a person gave up the others: it boots again to go on alone",
    ),
    Rule(
        143,
        (record.recovering, record.recover_unprepared, c.broker_down, c.not_busy),
        turn.recover_prepare,
        "the next boot waits for nobody",
    ),
    Rule(144, (record.recovering, record.recover_unprepared), turn.wait_to_recover, "one long act at a time"),
    Rule(
        145,
        (record.recovering, record.recover_unsettled, c.somebody_serves),
        turn.refuse_recover,
        "the others came back meanwhile: nothing is taken from them",
    ),
    Rule(
        146,
        (record.recovering, record.recover_unreleased, c.broker_starting, c.not_busy),
        turn.recover_release,
        "it waits for a majority that never comes",
    ),
    Rule(
        148,
        (record.recovering, record.recover_unsettled, c.broker_ready, c.not_busy),
        turn.recover_settle,
        "who was given up is forgotten, and the cluster gets an id of its own",
    ),
    Rule(150, (c.broker_stopping,), then.wait_for_stop, "the old broker has to end before anything new starts"),
    Rule(
        210, (c.broker_down, c.name_taken, c.owner_proven_dead), then.take_name, "the last owner of this name is dead"
    ),
    Rule(220, (c.broker_down, c.name_taken, c.owner_beats), then.refuse_twin, "one name, one live instance"),
    Rule(230, (c.broker_down, c.name_taken), then.watch_owner, "a restart within the TTL is not a twin"),
    Rule(
        233,
        (c.broker_down, c.data_lost, record.join_is_granted, c.not_listed, c.target_known),
        then.join,
        "its old self is forgotten: it joins as a new member",
    ),
    Rule(
        235,
        (c.broker_down, record.name_not_free),
        turn.wait_for_forget,
        "before it boots, its old self is forgotten",
    ),
    Rule(
        237,
        (c.broker_down, c.data_lost, c.not_listed, record.no_finding, c.target_known, record.no_operation),
        turn.ask_join,
        "its old self is forgotten already: it joins as a new member",
    ),
    Rule(
        240,
        (c.broker_down, c.data_lost),
        then.hold_lost_disk,
        "a member whose data is gone is a stranger with its name",
    ),
    Rule(250, (c.broker_down, c.blank_under_known_name), then.hold_lost_disk, "the cluster still lists the old self"),
    Rule(
        255,
        (c.broker_down, c.founded_under_known_name),
        then.hold_lost_disk,
        "what it founded is not where the members list it",
    ),
    Rule(260, (c.broker_down, c.has_member_data, c.foreign), then.hold_foreign, "two clusters must never meet"),
    Rule(
        268,
        (c.broker_down, c.has_member_data, c.forgotten, record.join_is_granted, record.may_rejoin),
        turn.set_aside,
        "a person gave up the old data; a copy of it is kept",
    ),
    Rule(270, (c.broker_down, c.has_member_data, c.forgotten), then.hold_forgotten, "a reset needs a person"),
    Rule(
        310,
        (c.broker_down, c.was_a_member, c.first_word_due),
        then.wait_for_first_word,
        "who could object to this disk is asked first; Redis need not answer",
    ),
    Rule(
        320,
        (c.broker_down, c.broken_configuration),
        then.exit_configuration,
        "it fails the same way until a file changes",
    ),
    Rule(
        330,
        (c.broker_down, c.backing_off),
        then.wait_backoff,
        "a broker that dies at once is not restarted in a tight loop",
    ),
    Rule(
        340, (c.broker_down, c.has_member_data), then.boot_with_data, "RabbitMQ rejoins by itself; Redis is not needed"
    ),
    Rule(
        350,
        (c.broker_down, c.unmarked),
        then.boot_with_data,
        "data that is not ours to judge: boot, then ask the peers",
    ),
    Rule(
        355,
        (c.broker_down, c.unproven_data, c.read_before_the_end),
        then.read_again,
        "meanwhile the others may have counted on this disk",
    ),
    Rule(
        360,
        (c.broker_down, c.founding_was_committed),
        then.boot_with_data,
        "the founding was committed before the crash",
    ),
    Rule(
        370,
        (c.broker_down, c.join_may_have_succeeded),
        then.boot_with_data,
        "the members list this node: it may have joined",
    ),
    Rule(
        405,
        (c.broker_down, c.store_silent, c.store_refused),
        then.exit_refused,
        "a wrong password does not become right by waiting",
    ),
    Rule(
        410,
        (c.broker_down, c.store_silent, c.redis_wait_over),
        then.exit_without_redis,
        "a blank node never acts blind",
    ),
    Rule(420, (c.broker_down, c.store_silent), then.wait_for_redis, "a blank node never acts blind"),
    Rule(
        430,
        (c.broker_down, c.target_known, c.cookie_differs),
        then.wait_cookie,
        "brokers with different cookies never meet",
    ),
    Rule(440, (c.broker_down, c.target_known, c.version_differs), then.wait_version, "major versions do not mix"),
    Rule(
        445,
        (c.broker_down, c.target_known, record.join_not_granted, record.no_operation),
        turn.ask_join,
        "one disruptive operation at a time",
    ),
    Rule(
        447,
        (c.broker_down, c.target_known, record.join_not_granted),
        turn.wait_for_operation,
        "one disruptive operation at a time",
    ),
    Rule(450, (c.broker_down, c.target_known), then.join, "a blank node joins the proven master"),
    Rule(
        460,
        (c.broker_down, c.cluster_exists, c.only_blanks_remember),
        then.hold_all_blank,
        "founding anew would make a second cluster under one prefix",
    ),
    Rule(470, (c.broker_down, c.cluster_exists, c.master_wait_over), then.exit_without_master, "every wait has an end"),
    Rule(480, (c.broker_down, c.cluster_exists), then.wait_for_master, "one prefix, one cluster"),
    Rule(
        483,
        (c.broker_down, c.claim_is_mine, c.claim_used_up),
        then.found_anew,
        "one id, one broker: who joined the one that ended must not be taken for a member of the next",
    ),
    Rule(485, (c.broker_down, c.claim_is_mine), then.found, "the claim is mine: the intent goes to disk first"),
    Rule(490, (c.broker_down, c.founding_open), then.claim, "a blank majority announced itself and nobody has data"),
    Rule(492, (c.broker_down, c.master_wait_over), then.exit_without_master, "every wait has an end"),
    Rule(495, (c.broker_down,), then.wait_for_company, "a founding needs blank announcements from a majority"),
    Rule(
        510,
        (c.founding_boot, c.not_committed, c.others_have_identity),
        then.give_up_founding,
        "data outranks a founding",
    ),
    Rule(
        520,
        (c.founding_boot, c.not_committed, c.claim_lost),
        then.kill_unclaimed,
        "a founder without a claim must not run",
    ),
    Rule(
        530,
        (c.uncommitted_stage, c.cluster_committed, c.mutual),
        then.promote,
        "the cluster is committed and this member proven",
    ),
    Rule(
        540,
        (c.founding_boot, c.broker_ready, c.not_committed, c.not_offered),
        then.offer,
        "the others need a name to join",
    ),
    Rule(
        550,
        (c.founding_boot, c.broker_ready, c.not_committed, c.mutual),
        then.commit,
        "a majority of the size is mutual",
    ),
    Rule(560, (c.founding_boot, c.broker_ready), then.wait_for_members, "a founding is committed by a majority"),
    Rule(570, (c.joining_boot, c.meant_for_another_cluster), then.kill_misled, "one prefix, one cluster"),
    Rule(575, (c.joining_boot, c.meant_for_nothing), then.kill_misled, "the founding that it was to join is gone"),
    Rule(
        580,
        (c.joining_boot, c.broker_starting, c.target_moved),
        then.kill_and_retarget,
        "a dead target is never waited for",
    ),
    Rule(
        583,
        (c.joining_boot, c.broker_starting, c.join_overdue),
        then.exit_join_overdue,
        "every wait has an end",
    ),
    Rule(585, (c.joining_boot, c.stands_alone, c.busy), then.wait_for_proof, "one long act at a time"),
    Rule(586, (c.joining_boot, c.stands_alone, c.join_failed_lately), then.wait_after_failure, "no tight loop"),
    Rule(
        587, (c.joining_boot, c.stands_alone, c.joins_by_command), then.join_by_command, "RMQCLUSTER_JOIN asks for it"
    ),
    Rule(
        590,
        (c.joining_boot, c.strayed),
        then.kill_lonely,
        "a node that strayed alone confirmed nothing to anybody",
    ),
    Rule(595, (c.joining_boot, c.broker_ready), then.wait_for_proof, "membership is proven by both sides"),
    Rule(602, (c.name_taken, c.owner_proven_dead), then.take_name, "the last owner of this name is dead"),
    Rule(604, (c.broker_ready, c.name_taken), then.tell_twin, "one name, one live instance"),
    Rule(
        605,
        (c.broker_starting, c.left_standing),
        then.restart_standing,
        "it never comes back by itself, and its peers may wait for it",
    ),
    Rule(
        606,
        (c.broker_starting, c.has_member_data, c.foreign),
        then.stop_foreign,
        "the members' brokers say that this disk belongs elsewhere",
    ),
    Rule(
        607,
        (c.broker_starting, c.left_apart),
        then.restart_apart,
        "its peers run and it waits for them for ever; its data stays",
    ),
    Rule(
        608,
        (c.broker_starting, c.has_member_data, c.forgotten),
        then.stop_forgotten,
        "a forgotten disk would wait for members that do not wait for it",
    ),
    Rule(
        609,
        (c.broker_starting, c.may_wait_for_ever),
        then.load_tables,
        "what never comes is not waited for: a majority of the disks knows all that was committed",
    ),
    Rule(610, (c.broker_starting,), then.wait_for_boot, "the broker says when it is ready"),
    Rule(
        620,
        (c.unmarked, c.broker_ready, c.mutual, c.adoptable),
        then.adopt,
        "a cluster made by hand is taken over as it is",
    ),
    Rule(
        630,
        (c.broker_ready, c.mutual, record.maintenance_asked),
        turn.perform,
        "a person asked for it, and this member's supervisor is the one who does it",
    ),
    Rule(640, (c.broker_ready, c.mutual), then.steady, "mutual member"),
    Rule(
        641,
        (c.broker_ready, c.has_member_data, c.foreign, c.forgotten_in_fact),
        then.stop_foreign,
        "the peers' brokers do not know it, and their cluster is another: no client may come in",
    ),
    Rule(642, (c.broker_ready, c.has_member_data, c.foreign), then.hold_foreign, "two clusters must never meet"),
    Rule(
        643,
        (c.broker_ready, c.has_member_data, c.forgotten_in_fact),
        then.stop_forgotten,
        "the peers' brokers no longer list it: no client may come in, its data stays",
    ),
    Rule(644, (c.broker_ready, c.has_member_data, c.forgotten), then.hold_forgotten, "a reset needs a person"),
    Rule(646, (c.broker_ready, c.unmarked), then.tell_unmarked, "data that rmqcluster did not make has to be proven"),
    Rule(650, (c.broker_ready, c.unheard), then.ask_around, "unknown is not false"),
    Rule(690, (), then.unproven, "local health proves nothing"),
)
