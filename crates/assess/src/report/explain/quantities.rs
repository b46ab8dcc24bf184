//! The quantities, in the order in which a reader meets them.

use super::Quantity;

/// All quantities.
pub const QUANTITIES: &[Quantity] = &[
    Quantity {
        name: "intrusion-rate",
        also: &["avi", "avi-graph", "attack-rate"],
        meaning: "How often a server is intruded: an attack meets a vulnerability that it activates, \
                  and nothing stops the two.",
        formula: "lambda = sum over attacks of: rate of attempts x (1 - prevented) x share of the time \
                  for which a vulnerability that the attack fits is open x success given that \
                  vulnerability\n\
                  open share = d / (d + patch rate), d = disclosure rate x (1 - share of vulnerabilities prevented)\n\
                  of a service: the mean over its servers",
        unit: "intrusions per hour",
        source: "paper, section 3.1 and figure 2; prevention, removal and tolerance are the edges of \
                 figure 2b that lower a rate",
        assumes: &[
            "attempts come independently of one another and of what they met before (a Poisson process)",
            "disclosures and patches of a vulnerability alternate without memory",
        ],
        is_silent_on: &[
            "an intruder who learns from failed attempts, or who waits for the best moment",
            "vulnerabilities that nobody has written into the model",
        ],
    },
    Quantity {
        name: "risk",
        also: &[
            "probability",
            "failure-probability",
            "risk-any",
            "by-mission-time",
            "as-designed",
            "risk-without-it",
        ],
        meaning: "The probability that the service fails by the end of the mission: that at some \
                  moment more than f of its servers are intruded at once, or in hybrid one whose wormhole falls \
                  with it. Of a promise: that it is broken by then.",
        formula: "P(T) = probability that the number of servers intruded at once passes what is tolerated \
                  before T; by closed form, by a Markov chain that stops there, or counted over simulated \
                  missions\n\
                  tolerated: f; none by the confidentiality of a state in clear, nor by integrity under crash; \
                  by availability as many, intruded or absent, as leave a quorum",
        unit: "probability, between 0 and 1, for one mission of the stated length",
        source: "paper, sections 2.3 and 3.1; K. Trivedi, Probability and Statistics with Reliability, \
                 Queuing and Computer Science Applications, 2nd ed., chapter 8",
        assumes: &[
            "servers are intruded independently, but for the common-mode shocks of the model",
            "times to intrusion, detection and recovery have no memory where a chain is used",
        ],
        is_silent_on: &[
            "which promise weighs most: the one that is held against the acceptable risk is the worse of \
             confidentiality and integrity, or availability where nothing else is promised",
            "the cost of a failure: see `acceptable-risk`",
            "failures that need no intrusion, such as a wrong order of an administrator",
        ],
    },
    Quantity {
        name: "intruded",
        also: &["intruded-by", "p", "intrusion-probability", "one-server"],
        meaning: "The probability that one server is intruded at least once within a time.",
        formula: "p = 1 - e^(-rate time), in an assessment with the mean rate of the servers",
        unit: "probability",
        source: "paper, section 3.1 (an intrusion is a successful attack on a vulnerability); \
                 exponential law",
        assumes: &["a constant rate of intrusions, as in `intrusion-rate`"],
        is_silent_on: &["for how long the intruder stays"],
    },
    Quantity {
        name: "no-repair",
        also: &["n-of-f", "binomial", "never-recovered"],
        meaning: "The probability that more than f of n servers are intruded when nobody ever recovers \
                  one.",
        formula: "P = 1 - sum for x = 0..f of C(n,x) p^x (1-p)^(n-x), with p = 1 - e^(-rate time)\n\
                  4 servers, f = 1, rate 0.01/h, 100 h: 0.8557986\n\
                  hybrid: P = 1 - sum for x = 0..f of C(n,x) p^x (1-p)^(n-x) c^x, c the mean coverage of a \
                  wormhole\n\
                  3 servers, f = 1, p = 0.1, c = 0.7: 0.1009",
        unit: "probability",
        source: "paper, section 4.2 (a set of replicas against one of them); binomial law",
        assumes: &[
            "servers are intruded independently, each with probability p: in an assessment that of their mean \
             rate",
            "no recovery",
            "in hybrid that x intruded servers break nothing as long as all x wormholes hold, each with \
             probability c by itself: `--coverage` of `closed-form`, and every assessment of hybrid",
        ],
        is_silent_on: &[
            "attacks that one intruder repeats on servers that are alike: see `beta`",
            "which servers fall, and when",
        ],
    },
    Quantity {
        name: "mttf",
        also: &[
            "repair",
            "mean-time-to-failure",
            "time-to-failure",
            "mean-time-to-it",
            "mean-time",
        ],
        meaning: "The mean time until more than f servers are intruded at once, when intruded servers \
                  are recovered side by side.",
        formula: "h_0 = 1/(n rate); h_x = (1 + x repair h_(x-1)) / ((n-x) rate); MTTF = h_0 + ... + h_f\n\
                  4 servers, f = 1, rate 0.01/h: 58.3333 h without repair, 891.667 h at repair 1/h\n\
                  in an assessment, of each promise: the mean time until the chain of `risk` first breaks it",
        unit: "hours",
        source: "paper, section 5.5 (recoverable operation); birth-death chain",
        assumes: &[
            "in the formula: each intruded server is recovered at the same rate, without waiting for another",
            "in the formula: intrusions are found, and the repair rate contains the time to detect them; an \
             assessment has those that nobody notices, single repairers and rejuvenation too",
        ],
        is_silent_on: &[
            "the spread: half of all systems fail well before the mean",
            "what an intruder keeps after recovery, such as a share of a secret",
        ],
    },
    Quantity {
        name: "beta",
        also: &["common-mode", "beta-factor", "shocks", "common-share"],
        meaning: "The probability of failure when a share beta of each server's intrusions hits all \
                  servers at once, because they are alike.",
        formula: "P = 1 - (1 - beta p) (1 - P_f((1 - beta) p)), P_f as in `no-repair`, in hybrid with its \
                  factor c^x\n\
                  p = 0.05, beta = 0.1: 0.0163761 for 4 servers, 0.0077676 for 7, 0.0056882 for 10\n\
                  the row `common share` of an assessment (`common_mode`): p of the servers' mean rate, beta the \
                  sum of the shares of those labels of which all servers have the same value, at most 1; nobody \
                  is recovered\n\
                  chains and missions: every value of a label that several servers have strikes all of them at \
                  once, share x the rate of the least attacked of them; what others are attacked more strikes \
                  those, by the same share, layer by layer\n\
                  2 servers of one site, share 0.1, attacked 1/y and 3/y: together 0.1/y, alone 0.9/y and 2.9/y",
        unit: "probability",
        source: "paper, section 4.2 (common-mode intrusions, diversity); K. Fleming, A reliability \
                 model for common mode failures, 1975",
        assumes: &[
            "one share for all common causes; labels that only some of the servers have in common are no part of \
             it, and are part of chains and missions",
            "servers that are attacked unlike have in common what the least attacked of them meets: what another \
             meets more often comes by ways that the first does not have",
        ],
        is_silent_on: &[
            "where beta comes from: it is the least certain number of most models",
            "more servers: at beta 0.1 going from 7 to 10 hardly helps, since beta p alone is 0.005",
        ],
    },
    Quantity {
        name: "crossover",
        also: &["worse-than-one", "break-even", "worse-than-one-server"],
        meaning: "The probability of intrusion of a server beyond which n servers that tolerate f are \
                  worse than one server.",
        formula: "the p with P_f(n, p) = p, P_f as in `no-repair`; 0.232 for 4 servers and f = 1; hybrid with \
                  its factor c^x: 0.0909 for 3 servers, f = 1 and c = 0.7; 0 where they are worse at every p \
                  (f = 0), 1 where they are at none",
        unit: "probability of one server's intrusion within the mission",
        source: "paper, section 4.2: replicas help where each one is trustworthy enough; `no-repair`",
        assumes: &[
            "independent servers, no recovery within the mission",
            "in an assessment of hybrid P_f counts wormholes that fall, as for `wormhole-coverage`",
        ],
        is_silent_on: &[
            "what one server lacks: the secrets of a single server are lost with it, and it cannot be \
             recovered while it serves",
        ],
    },
    Quantity {
        name: "availability",
        also: &["up", "steady-state", "share-of-time-held", "share-of-time"],
        meaning: "The share of the time for which enough correct servers are up to answer.",
        formula: "stationary probability of the states in which at least a quorum of servers is clean and \
                  present; of integrity that of the states in which no more than it tolerates are intruded; where \
                  unnoticed intrusions never end, the mean share of the mission instead",
        unit: "share of the time, between 0 and 1",
        source: "paper, sections 5.3 and 5.5; stationary solution of a Markov chain",
        assumes: &[
            "the service resumes once enough servers are back; what was disclosed or wrong meanwhile \
             is counted elsewhere",
            "servers that are rejuvenated, or stopped, are absent",
        ],
        is_silent_on: &["the longest single outage", "answers that come, but late"],
    },
    Quantity {
        name: "integrity",
        also: &["correctness", "wrong-answers"],
        meaning: "The promise that clients never accept a wrong answer: never more than f servers in an \
                  intruder's hands at once. Its risk is the probability that this is broken.",
        formula: "P(T) as in `risk` with intruded servers only, none of which is tolerated under crash; servers \
                  that are merely absent cannot lie, and are counted as present: a little more risk than \
                  there is",
        unit: "probability for one mission",
        source: "paper, sections 3.1 and 5.1",
        assumes: &[
            "clients vote or check proofs, as those of Ravelin do",
            "in the hybrid fault model also that wormholes only stop: see `wormhole-coverage`",
        ],
        is_silent_on: &["a detected failure: safe stop turns some of these into unavailability"],
    },
    Quantity {
        name: "confidentiality",
        also: &["disclosure", "secrecy"],
        meaning: "The promise that the intruder never holds more than f shares of one epoch: what is once \
                  disclosed stays disclosed. Its risk is the probability that this is broken.",
        formula: "P_c(T): as P(T) of `risk`, but a server that was intruded counts, recovered or not, until \
                  shares are refreshed while it is clean; the state of failure is never left; in clear the \
                  first intruded server breaks it",
        unit: "probability for one mission",
        source: "paper, section 5.2 (confidential operation)",
        assumes: &[
            "an intrusion of a server copies its share at once",
            "a refresh makes older shares useless; an epoch is `share_epoch`, or endless",
        ],
        is_silent_on: &[
            "secrets outside the threshold scheme, such as those on clients",
            "how much an intruder learns from who asks for what",
        ],
    },
    Quantity {
        name: "coverage",
        also: &[
            "pr-a",
            "pr-o",
            "pr-e",
            "trust",
            "trustworthiness",
            "alone",
            "with-all-below",
            "assessed",
        ],
        meaning: "How far a component deserves to be relied upon: its own coverage, given that \
                  everything below it holds, times the coverage of what is below.",
        formula: "Pr_a = Pr_o x Pr_e along a chain; over a graph with shared components the exact \
                  probability that the component and all that it depends on hold, each counted once",
        unit: "probability",
        source: "paper, section 3.3 and figure 3; R. Bryant, Graph-based algorithms for Boolean \
                 function manipulation, 1986, for the decision diagram",
        assumes: &[
            "components fail independently, given that what they share is drawn as one component",
        ],
        is_silent_on: &[
            "who says so: a coverage that is assumed is not one that was assessed",
            "when it fails: coverage has no time in it",
        ],
    },
    Quantity {
        name: "over-trust",
        also: &[
            "trusted-beyond-trustworthiness",
            "unjustified-reliance",
            "required-coverage",
            "requires",
        ],
        meaning: "A dependence that asks for more coverage than was assessed: trusted beyond \
                  trustworthiness.",
        formula: "required coverage of the edge > Pr_a of the component at its end",
        unit: "two probabilities, the required and the assessed",
        source: "paper, sections 2.3 (unjustified reliance) and 3.2 to 3.3",
        assumes: &["that whoever requires a coverage needs all of it"],
        is_silent_on: &["harm: an over-trusted edge may never fail, and a justified one may"],
    },
    Quantity {
        name: "importance",
        also: &["birnbaum"],
        meaning: "By how much the coverage of a component on top, on which no other relies, falls when this one \
                  fails for certain.",
        formula: "P(top | component holds) - P(top | component fails), exact by a decision diagram; of several \
                  on top the largest",
        unit: "probability",
        source: "paper, section 3.3 (chains of trust); Z. Birnbaum, On the importance of different \
                 components in a multicomponent system, 1969",
        assumes: &["independent components, as for `coverage`"],
        is_silent_on: &["how likely the component fails: that is its coverage"],
    },
    Quantity {
        name: "causes",
        also: &["cause", "share-of-risk", "share"],
        meaning: "How much of the risk goes away when one cause alone is taken out of the model.",
        formula: "share = (risk - risk without the cause) / risk, of the promise that decides; the cause is a \
                  value of a label that several servers have, the intrusions of single servers whose wormholes \
                  hold, or wormholes that fall",
        unit: "share, between 0 and 1",
        source: "paper, section 4.2 (common-mode intrusions) and 3.1",
        assumes: &["all else stays as it is"],
        is_silent_on: &["sums: shares of causes that need each other add up to more than 1"],
    },
    Quantity {
        name: "cut-sets",
        also: &["cuts", "labels", "minimal-sets", "label-cut-sets"],
        meaning: "The smallest sets of label values (a site, an administrator, an operating system, an isolation \
                  of wormholes) whose fall intrudes more than f servers.",
        formula: "sets of label values whose servers together are more than f, and are not with any one of the \
                  values left out; of up to 4 values, and no more than f + 1; smallest sets first, the \
                  first 32\n\
                  a value that only one of several servers has is in no set: it falls with its server alone",
        unit: "sets; a set of one is a single point of failure",
        source: "paper, section 4.2 (common-mode syndrome); minimal cut sets of fault tree analysis",
        assumes: &["that what falls takes every server with it that bears its label"],
        is_silent_on: &[
            "how likely a label falls: that is its common-mode share, see `beta` and `causes`; one without a \
             share is in the sets too",
            "sets beyond those limits: the report says where there may be some",
        ],
    },
    Quantity {
        name: "wormhole-coverage",
        also: &["hybrid", "hybrid-against-arbitrary", "isolation"],
        meaning: "How the hybrid fault model compares with the arbitrary one as a function of how surely \
                  an intruded server's wormhole only stops.",
        formula: "arbitrary, n = 3f+1: P_f(3f+1, p); hybrid, n = 2f+1: 1 - sum for x = 0..f of \
                  C(n,x) p^x (1-p)^(n-x) c^x, where c is the coverage of one wormhole; the sweep has the \
                  same by the chain, with recovery and shared labels, at f of the design and at least 1",
        unit: "probability of failure",
        source: "paper, section 6 (hybridisation) and 3.3; binomial law",
        assumes: &[
            "an intruded server whose wormhole falls too breaks the service alone",
            "wormholes fall independently, given their servers fell",
            "coverage is the probability of holding given a fault: drawn once for each intrusion, however \
             long the intruder stays",
        ],
        is_silent_on: &["how to assess the coverage of a wormhole"],
    },
    Quantity {
        name: "cheapest-attack",
        also: &["attack-tree", "cheapest-path", "path-cost", "path-probability", "cost"],
        meaning: "The steps that reach the root of an attack tree at the least cost, what they cost, and \
                  how likely the root is reached.",
        formula: "least cost over all sets of leaves that satisfy the tree, none of probability 0, a \
                  shared leaf paid once; probability exact with shared leaves, by a decision diagram",
        unit: "the currency of the model; probability",
        source: "paper, section 2.3 (cost of intruding against value of assets); B. Schneier, Attack \
                 trees, 1999",
        assumes: &["the intruder knows the tree and the prices", "leaves succeed independently"],
        is_silent_on: &["attacks that are not in the tree", "intruders who do not count costs"],
    },
    Quantity {
        name: "cost-of-intruding",
        also: &["economics", "cost-of-one", "cheapest-way"],
        meaning: "The least that an intruder pays for exploits which together intrude as many servers as \
                  may break a promise.",
        formula: "least sum over sets of exploits that reach one server more than the promise that tolerates \
                  least, or one in hybrid where a wormhole may fall with it: the first use of each at its price, \
                  each further host at the price of using it again; all sets of up to 3 of the 48 cheapest, \
                  larger ones built step by step",
        unit: "the currency of the model",
        source: "paper, section 2.3 (cost of intruding)",
        assumes: &["an exploit that works on one host works on all that have the vulnerability"],
        is_silent_on: &[
            "time: the vulnerabilities need not all be open at once",
            "what a discovered attempt costs the intruder",
        ],
    },
    Quantity {
        name: "acceptable-risk",
        also: &["expected-loss", "value-of-assets", "budget", "loss", "decides"],
        meaning: "Whether the probability of failure, and the loss to be expected, are below what the \
                  owner accepts, and whether intruding costs more than it yields.",
        formula: "accepted when the risk of the promise that decides (the worse of confidentiality and \
                  integrity, availability where nothing else is promised; by missions alone the upper end of \
                  its interval) <= acceptable; expected loss = sum over promises of risk x loss; value of \
                  assets = sum of the losses; worthwhile for the intruder when cost of intruding < value of \
                  assets, within reach when cost <= budget",
        unit: "probability per mission; the currency of the model",
        source: "paper, section 2.3 (acceptable risk)",
        assumes: &["one failure of a promise loses the stated value, once"],
        is_silent_on: &["values that nobody can put in money"],
    },
    Quantity {
        name: "sensitivity",
        also: &["elasticity", "tornado", "risk-halved", "risk-doubled", "value", "input"],
        meaning: "How strongly the risk follows each input: by how many per cent it changes for one per \
                  cent of the input.",
        formula: "elasticity = d ln P / d ln x, by differences of one per cent to both sides, P the risk that \
                  decides; the tornado shows P with the input halved and doubled (a probability to 1 at most), \
                  others unchanged, or by one per cent where a schedule leaves no time for that; the 20 strongest \
                  inputs",
        unit: "per cent per per cent; probability",
        source: "paper, section 3.1 (which technique is worth its effort); sensitivity analysis",
        assumes: &["inputs change one at a time"],
        is_silent_on: &[
            "amounts of money, and the inputs of trust graph and attack trees, on which the risk does not depend",
            "inputs that are wrong together",
            "how uncertain an input is: see `origin`",
        ],
    },
    Quantity {
        name: "knee",
        also: &["sweep"],
        meaning: "The place on a sweep after which more of the same brings little.",
        formula: "the point of the curve that lies farthest below the line between its ends, by the logarithm of \
                  the risk, as it is drawn; none where that is less than a tenth of the curve's height. A risk of \
                  0 counts as a tenth of the least other one, and none as less than a part in 10^15 of the \
                  greatest; periods count by their logarithms too, all else as it is",
        unit: "that of what is swept",
        source: "paper, section 2.3 (effort against residual risk); V. Satopaa and others, Finding a \
                 Kneedle in a Haystack, 2011",
        assumes: &["a curve that falls or rises all along", "the range that was swept"],
        is_silent_on: &[
            "what is enough: that is `acceptable-risk`",
            "how much is left to gain: the conclusions call it little where the least risk beyond is less than \
             1.5 times smaller, and say how much it is where it is more",
        ],
    },
    Quantity {
        name: "duty-cycle",
        also: &["recoverable", "tc", "tr", "ta"],
        meaning: "How a recoverable service fares under attack: it falls after Tc, is back after Tr more, \
                  and under a lasting attack is up for a share Tc/(Tc+Tr) of the time.",
        formula: "duty cycle = Tc / (Tc + Tr); an attack shorter than Tc does not stop it, one shorter \
                  than Tc + Tr is fully recovered from, a longer one makes it cycle\n\
                  Tc and Tr as the model says for a recoverable service; else Tc is the mean time until more \
                  than f servers are intruded at once, and Tr that until no more are again, Tc (1 - A) / A, A \
                  the share of time without it; none where intrusions never end",
        unit: "hours; share of the time",
        source: "paper, section 5.5 (recoverable operation)",
        assumes: &["an intruder who begins anew at once", "recovery brings back what was lost"],
        is_silent_on: &["what is disclosed in the meantime"],
    },
    Quantity {
        name: "exhaustion",
        also: &["exhaustion-safety", "rejuvenation", "schedule", "slack"],
        meaning: "Whether a schedule of rejuvenation keeps an intruder who comes at the mean pace from ever \
                  holding more than f servers, those that are absent counted against f.",
        formula: "slack = n - (3f + 2k + 1), hybrid and crash n - (2f + 2k + 1), k servers rejuvenated at once: \
                  below 0 each rejuvenation spends one of f\n\
                  left = intrusions still tolerated while k are absent: the most, up to f, for which n >= 3 left \
                  + 2k + 1, hybrid and crash 2 left + 2k + 1\n\
                  an intrusion lasts period - downtime at most; an intruder must need (period - downtime) / left \
                  from one server to the next, or for ever where nothing is left\n\
                  safe = every server gets its turn within a period (n/k rounded up, times the downtime); the \
                  mean time from one intrusion of any server to the next, 1/(n rate), is no less than an intruder \
                  must need; every turn expels for certain; and no more than f servers share a value of a label \
                  with a common-mode share\n\
                  6 servers, f = 1, k = 1, period 720 h, downtime 1 h: slack 0, left 1, 719 h needed; 4 servers: \
                  slack -2, nothing left",
        unit: "yes or no; servers; hours",
        source: "paper, sections 5.3 and 5.5; P. Sousa, N. Neves, P. Verissimo, How resilient are \
                 distributed f fault/intrusion-tolerant systems?, DSN 2005",
        assumes: &[
            "rejuvenation makes a server correct whatever was done to it",
            "intrusions come one after the other, at their mean pace",
            "nothing but rejuvenation ends an intrusion: detection and recovery are not counted on",
            "no servers are absent but the k",
        ],
        is_silent_on: &[
            "an intruder who is quicker than the mean: `risk` has the chances of that, and is told beside it",
        ],
    },
    Quantity {
        name: "confidence-interval",
        also: &["monte-carlo", "simulated", "ci"],
        meaning: "The range in which the true probability lies in the stated share of such experiments.",
        formula: "Wilson's interval for k failures in m missions; each mission is drawn from the seed, so \
                  that the same seed gives the same count on any machine",
        unit: "probability",
        source: "paper, section 3 (tolerance with a quantifiable probability); E. Wilson, Probable \
                 inference, JASA 22, 1927",
        assumes: &["missions are independent draws from the model"],
        is_silent_on: &[
            "errors of the model: the interval counts chance only",
            "very rare events: no failure in m missions bounds the risk near 6.6/m at 99 %",
        ],
    },
    Quantity {
        name: "chain",
        also: &["markov-chain", "uniformisation"],
        meaning: "The service as a continuous-time Markov chain: its states count how many servers of \
                  each group are intruded, found out or absent.",
        formula: "P(t) = sum over k of Poisson(q t; k) x P^k (uniformisation with q above all rates); \
                  mean times and stationary shares from the linear equations",
        unit: "probability; hours",
        source: "paper, section 3.1 (the AVI sequence as states); A. Jensen, Markoff chains as an aid in \
                 the study of Markoff processes, 1953",
        assumes: &["exponential times: a fixed period of rejuvenation becomes a rate"],
        is_silent_on: &[
            "fixed periods and staggered schedules: Monte Carlo has them as they are",
            "single servers where they differ too much: they are merged with their mean, and a note says so",
        ],
    },
    Quantity {
        name: "backtest",
        also: &["campaign", "predicted-and-measured"],
        meaning: "Predicted frequencies beside those that were measured by intruding real or simulated \
                  servers at accelerated rates.",
        formula: "predicted probability inside the confidence interval of hits / trials, for each of: a server \
                  intruded (1 - e^(-rate time), the mean of the servers), more than f at once (the chain), a \
                  promise broken, an attack not tolerated or a simulated run lost although no more than f were \
                  (1 - Pr_o of the least covered component on which no other relies; 0 without a trust graph)",
        unit: "frequency, between 0 and 1",
        source: "paper, sections 2.3 and 3 (assumptions against what happens); Wilson's interval, for servers of \
                 one mission by L. Kish's design effect",
        assumes: &["rates were accelerated alike, so that their ratios are those of the model"],
        is_silent_on: &["attacks that the campaign did not have"],
    },
    Quantity {
        name: "origin",
        also: &["measured", "assumed", "expert"],
        meaning: "Where a number of the model comes from: measured, assumed, or an expert's word.",
        formula: "as the model file says, for every number; results count how many of each they rest on",
        unit: "measured, assumed or expert",
        source: "paper, section 3.3 (coverage of assumptions)",
        assumes: &["that the file is honest"],
        is_silent_on: &["how far a measured number still holds today"],
    },
];
