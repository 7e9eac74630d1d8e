"""Writes the table of results in README.md and the pages of experiments/results.

    python experiments/readme_tables.py

Both come from the JSON files in experiments/results; a test compares them with the files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from posterior_tables import errors
from result_files import RESULTS, ROOT, load, table
from result_pages import pages

from ipads_stream.core.files import write_text

START, END = "<!-- results -->", "<!-- end of results -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; numbers are errors, the first decides which of two is printed bold.

    Attributes:
        system, page: name, and the page of experiments/results that holds all of it.
        test: what was tested, simulated or measured.
        measure: of the error.
        classical: best classical method of the test and its errors.
        network: errors of the network.
        bound: what no estimate can beat, or "".
        published: in the literature, or "".
        form: how an error is printed.
    """

    system: str
    page: str
    test: str
    measure: str
    classical: tuple[str, tuple[float, ...]]
    network: tuple[float, ...]
    bound: str = ""
    published: str = ""
    form: str = "{:.3f}"

    def cells(self) -> list[str]:
        """The line as text."""
        name, errors = self.classical
        shown = [" / ".join(map(self.form.format, values)) for values in (errors, self.network)]
        better = 0 if errors[0] < self.network[0] else 1
        shown[better] = f"**{shown[better]}**"
        return [f"[`{self.system}`](experiments/results/{self.page}.md)", self.test, self.measure,
                f"{shown[0]} ({name})", shown[1], self.bound, self.published]  # fmt: skip


def rows() -> list[Row]:
    """The table's lines, those that a network loses among them."""
    return [*_signals(), *_voxels(), *_maps()]


def _signals() -> list[Row]:
    simulated, planes = load("nmr1-demo"), load("nmr2-demo")["ubiquitin"]
    noisy = {row["arm"]: row["mean"] for row in load("fig4")["cells"]
             if row["test"] == "I, 2 % noise" and row["metric"] == "rlne"}  # fmt: skip
    rates = {row["arm"]: row["mean"] for row in load("fig7")["cells"]
             if row["test"] == "25 %" and row["metric"] == "rlne"}  # fmt: skip
    efficient = load("fig4-efficient")["I, 2 % noise"]["rlne"]
    made = [
        Row(
            system="dlnmr",
            page="dlnmr",
            test=f"simulated signals, {rate} sampled",
            measure="RLNE",
            classical=("low-rank", (simulated[f"LRHM {rate}"]["rlne_median"]["mean"],)),
            network=(simulated[f"network {rate}"]["rlne_median"]["mean"],),
        )
        for rate in ("25%", "15%")
    ]
    return [
        *made,
        Row(
            system="dlnmr",
            page="dlnmr",
            test="measured ubiquitin, 25% sampled",
            measure="RLNE",
            classical=("low-rank", (planes["all: LRHM 25%"]["rlne"]["mean"],)),
            network=(planes["all: network 25%"]["rlne"]["mean"],),
            published=f"r of peaks 0.9996, here {planes['all: network 25%']['r']['mean']:.4f}",
        ),
        Row(
            system="dhmf",
            page="fig4",
            test="simulated signals, 25% sampled, 2% noise",
            measure="RLNE",
            classical=("low-rank", (noisy["LRHM"],)),
            network=(noisy["DHMF"],),
            bound=f"{efficient:.3f}",
        ),
        Row(
            system="modern",
            page="fig7",
            test="simulated signals, 25% sampled",
            measure="RLNE",
            classical=("low-rank", (rates["LRHM"],)),
            network=(rates["hypernetwork"],),
        ),
    ]


def _voxels() -> list[Row]:
    decays, spectra, prints = (load(f"{name}-small") for name in ("ann_mwf", "anncest", "drone"))

    def score(rows: list[dict[str, Any]], quantity: str, method: str, score: str) -> float:
        return next(
            row[score] for row in rows if row["quantity"] == quantity and row["method"] == method
        )

    myelin = decays["tables"]["ann_mwf SNR 150"]
    exchange = spectra["tables"]["SNR 200"]

    def fingerprints(snr: int, method: str) -> tuple[float, ...]:
        table = prints["tables"][f"SNR {snr}"]
        return tuple(100 * score(table, name, method, "log_rmse") for name in ("T1", "T2"))

    made = [
        Row(
            system="ann_mwf",
            page="ann_mwf",
            test="simulated voxels, SNR 150",
            measure="RMSE of the myelin water fraction, %",
            classical=("three-pool fit", (score(myelin, "MWF", "three-pool fit", "rmse"),)),
            network=(score(myelin, "MWF", "network", "rmse"),),
            bound=f"{score(myelin, 'MWF', 'posterior mean', 'rmse'):.2f}",
            published="fit 5.46, network 3.56",
            form="{:.2f}",
        ),
        Row(
            system="anncest",
            page="anncest",
            test="simulated voxels, SNR 200",
            measure="log-RMSE of phosphocreatine",
            classical=("full model", (score(exchange, "PCr", "full model fit", "log_rmse"),)),
            network=(score(exchange, "PCr", "network", "log_rmse"),),
            bound=f"{score(exchange, 'PCr', 'posterior mean', 'log_rmse'):.3f}",
            published="r = 0.813 with phosphorus spectroscopy",
        ),
    ]
    made.append(
        Row(
            system="t2_map",
            page="posteriors",
            test="20 protocols not trained on, T2 / T2* / T1, by network and likelihood",
            measure="log-RMSE, %",
            classical=("maximum likelihood", errors("maximum likelihood")),
            network=errors("network and likelihood"),
            bound=" / ".join(f"{x:.2f}" for x in errors("posterior mean")),
            form="{:.2f}",
        )
    )
    for snr, said in ((25, "as trained"), (300, "beyond the training")):
        made.append(
            Row(
                system="drone",
                page="drone",
                test=f"simulated voxels, SNR {snr}, {said}",
                measure="log-RMSE of T1 / T2, %",
                classical=("dictionary and fit", fingerprints(snr, "dictionary and fit")),
                network=fingerprints(snr, "network"),
                bound=" / ".join(f"{x:.3g}" for x in fingerprints(snr, "Cramer-Rao bound")),
                published="2.6 / 1.9 ms without noise" if snr == 25 else "",
                form="{:.3g}",
            )
        )
    return made


def _maps() -> list[Row]:
    dipole, echoes, iron = (load(f"{name}-small") for name in ("qsmnet", "oled", "deepspio"))
    lesions, residual = dipole["lesions x10"], dipole["measured"]["residual"]
    steps = "dipole steps, widened"
    made = [
        Row(
            system=system,
            page="qsmnet",
            test="simulated brain, lesions of ±1.4 ppm",
            measure="RMSE in the lesions, ppm",
            classical=("total variation", (lesions["total variation"]["lesion_rmse"]["mean"],)),
            network=(lesions[arm]["lesion_rmse"]["mean"],),
            published=published,
        )
        for system, arm, published in (
            ("qsmnet", "U-Net, widened", "QSMnet 0.36, QSMnet+ 0.04"),
            ("qsmnet_unrolled", steps, ""),
        )
    ]
    made.append(
        Row(
            system="qsmnet_unrolled",
            page="qsmnet",
            test="measured gradient echoes",
            measure="part of the field not explained",
            classical=("Tikhonov", (residual["Tikhonov"],)),
            network=(residual[steps],),
            form="{:.2f}",
        )
    )
    for test, said in (("brain", "simulated brain"), ("textures, B1 1.2", "textures, B1 of 1.2")):
        methods = {row["method"]: row["nmse"] for row in echoes["tests"][test]}
        made.append(
            Row(
                system="oled",
                page="oled",
                test=said,
                measure="NMSE of T2",
                classical=("windowed fit", (methods["windowed log-fit"],)),
                network=(methods["trained on textures"],),
                published="r = 0.997 against a reference scan" if test == "brain" else "",
            )
        )
    for test, score, measure in (
        ("0.3 to 10 mM", "total", "error of the total iron"),
        ("0.3 to 1 mM", "nrmse", "NRMSE of the maps"),
    ):
        methods = iron["tests"][test]
        made.append(
            Row(
                system="deepspio",
                page="deepspio",
                test=f"simulated volumes, {test}",
                measure=measure,
                classical=("non-linear fit", (methods["non-linear fit"][score]["mean"],)),
                network=(methods["wavelet decoders"][score]["mean"],),
                published="about 0.09" if score == "total" else "",
                form="{:.2f}",
            )
        )
    return made


def summary() -> str:
    """The table of README.md."""
    head = ["system", "test", "error", "best classical", "network", "bound", "published"]
    return table(head, [row.cells() for row in rows()]) + "\n"


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, after = text.partition(START)[0], text.partition(END)[2]
    write_text(readme, f"{before}{START}\n{summary()}{END}{after}")
    for name, page in pages().items():
        write_text(RESULTS / name, page)


if __name__ == "__main__":
    main()
