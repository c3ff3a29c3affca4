"""Most exciting images beside closed forms; Gabors, masks and measures beside their definitions."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage

from visualcortex.models import synthesis
from visualcortex.models.cone import ConeResponse
from visualcortex.models.encoding import EncodingNetwork
from visualcortex.models.gabor import gabor_bank
from visualcortex.models.gabor_bank import best_gabors, fit_gabor, gabor_table, paint_gabors
from visualcortex.models.synthesis import (
    answers,
    best_of_bank,
    best_under_mask,
    describe,
    diverse_images,
    mask_of,
    matched,
    mean_response,
    most_exciting_images,
    own_responses,
    radial_spectrum,
    walker2019,
)

SHAPE = (12, 16)
N_PIXELS = 12 * 16
NORM = 5.0


def draws(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


FILTERS = draws(6, N_PIXELS)
PAIRS = draws(6, 2, N_PIXELS, seed=1)


def linear(images):
    """Positive rates of linear neurons (B, N); the closed form holds for any rising function."""
    return torch.nn.functional.softplus(images.flatten(1) @ torch.from_numpy(FILTERS).T / 10)


def energy(images):
    return torch.einsum("bp,nkp->bnk", images.flatten(1), torch.from_numpy(PAIRS)).square().sum(-1)


def cosine(a, b):
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def mei(model=linear, neurons=range(6), shape=SHAPE, **changes):
    settings = {"norm": NORM, "tolerance": 1e-5} | changes
    return most_exciting_images(own_responses(model), list(neurons), shape, **settings)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = EncodingNetwork(12, (16, 22), n_channels=8, kernels=(5, 3))
    with torch.no_grad():
        network.position.uniform_(-1, 1)
        network.position[0] = 1.0
        network.features.normal_()
        network(torch.randn(20, 1, 16, 22))
    return network.eval().requires_grad_(False)


# -- closed forms -----------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 1.0])
def test_a_linear_neuron_wants_its_filter_however_smooth_the_way(smoothing):
    found = mei(smoothing=smoothing)
    assert found.images.shape == (6, *SHAPE)
    assert found.images.dtype == np.float32
    assert found.converged.all()
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(NORM, rel=1e-5)
    assert cosine(found.images, FILTERS).min() > 0.999
    best = np.diagonal(linear(torch.from_numpy(NORM * FILTERS / norms(FILTERS))).numpy())
    np.testing.assert_allclose(found.responses, best, rtol=1e-3)


def norms(rows):
    return np.linalg.norm(rows, axis=-1, keepdims=True)


def test_an_energy_neuron_wants_the_leading_eigenvector():
    found = mei(energy, n_steps_max=2000, tolerance=1e-7)
    grams = PAIRS @ PAIRS.swapaxes(1, 2)
    largest = np.linalg.eigvalsh(grams)[:, -1]
    np.testing.assert_allclose(found.responses, NORM**2 * largest, rtol=1e-3)
    for image, pair in zip(found.images, PAIRS, strict=True):
        basis = np.linalg.qr(pair.T)[0]  # the image lies in the span of the pair
        assert np.linalg.norm(basis.T @ image.ravel()) == pytest.approx(NORM, rel=1e-3)


def test_the_least_exciting_image_is_the_negative_filter():
    found = mei(sign=-1)
    assert cosine(found.images, -FILTERS).min() > 0.999
    assert (np.diff(found.history, axis=1) <= 0)[:, : found.n_steps.min()].all()
    assert (found.responses < mei().responses).all()
    direct = own_responses(linear)(torch.from_numpy(found.images)[:, None], torch.arange(6))
    np.testing.assert_allclose(found.responses, direct, rtol=1e-4)


def test_a_mask_keeps_the_rest_grey_and_the_best_there():
    mask = np.zeros(SHAPE)
    mask[3:9, 4:12] = 0.5
    mask[5:7, 6:10] = 1.0
    found = mei(mask=mask)
    assert (found.images[:, mask == 0] == 0).all()
    # soft values change the way, not the end
    inside = FILTERS.reshape(6, *SHAPE) * (mask > 0)
    assert cosine(found.images, inside).min() > 0.999
    each = mei(mask=np.repeat(mask[None], 6, axis=0))
    np.testing.assert_array_equal(each.images, found.images)


def test_smoothing_without_the_second_projection_ends_elsewhere():
    """The reason for it: plain smoothed ascent is drawn to smooth images, not to the best."""
    smooth = synthesis._Smoothing(SHAPE, 1.0, torch.device("cpu"))
    filters = torch.from_numpy(FILTERS).view(-1, *SHAPE)
    image = torch.from_numpy(draws(6, *SHAPE))
    for _ in range(500):
        image = (
            image + 0.1 * smooth(filters) / smooth(filters).flatten(1).norm(dim=1)[:, None, None]
        )
        image /= image.flatten(1).norm(dim=1)[:, None, None]
    assert cosine(image.numpy(), FILTERS).max() < 0.9
    assert cosine(mei(smoothing=1.0).images, FILTERS).min() > 0.999


# -- bookkeeping ------------------------------------------------------------------------------


def test_a_batch_is_the_loop_and_the_order_does_not_matter():
    together = mei(energy)
    alone = [mei(energy, [i]) for i in range(6)]
    np.testing.assert_allclose(
        together.responses, np.concatenate([s.responses for s in alone]), rtol=1e-4
    )
    assert cosine(together.images, np.concatenate([s.images for s in alone])).min() > 0.999
    order = np.array([3, 0, 5, 1, 2, 4])
    shuffled = mei(energy, order, batch_size=2)
    np.testing.assert_allclose(shuffled.responses, together.responses[order], rtol=1e-4)
    assert cosine(shuffled.images, together.images[order]).min() > 0.999
    assert shuffled.neurons.tolist() == order.tolist()


def test_the_history_rises_and_ends_where_the_image_stopped():
    found = mei(energy, n_steps_max=300)
    assert found.history.shape == (6, 301)
    assert found.history.dtype == np.float32
    for history, steps, response in zip(found.history, found.n_steps, found.responses, strict=True):
        assert np.isfinite(history[: steps + 1]).all()
        assert np.isnan(history[steps + 1 :]).all()
        assert (np.diff(history[: steps + 1]) >= 0).all()
        assert history[steps] == response
    direct = own_responses(energy)(torch.from_numpy(found.images)[:, None], torch.arange(6))
    np.testing.assert_allclose(found.responses, direct, rtol=1e-5)


def test_convergence_is_flagged_where_it_is_and_nowhere_else():
    assert not mei(n_steps_max=3).converged.any()
    assert (mei(n_steps_max=3).n_steps == 3).all()
    loose, tight = mei(tolerance=0.1), mei(tolerance=1e-4)
    assert loose.converged.all()
    assert tight.converged.all()
    assert loose.n_steps.mean() < tight.n_steps.mean()
    assert loose.responses.mean() < tight.responses.mean()
    # where it starts at the summit it stops after one window
    start = FILTERS.reshape(6, *SHAPE)
    assert (mei(init=start, window=5).n_steps == 5).all()


def test_a_neuron_that_nothing_moves_is_not_called_converged():
    start = -FILTERS.reshape(6, *SHAPE)

    def rectified(images):
        return (images.flatten(1) @ torch.from_numpy(FILTERS).T).clamp_min(0)

    found = mei(rectified, init=start)
    assert not found.converged.any()
    assert (found.n_steps == 0).all()
    assert (found.responses == 0).all()
    # from several starts some are on the slope
    several = mei(rectified, np.repeat(np.arange(6), 8), smoothing=0.0)
    assert not several.converged.all()
    best = several.best()
    assert best.neurons.tolist() == list(range(6))
    assert cosine(best.images, FILTERS).min() > 0.999


def test_repeated_neurons_start_elsewhere_and_seeds_differ():
    found = mei(neurons=[2, 2, 3], n_steps_max=1)
    assert abs(cosine(found.images[:1], found.images[1:2])[0]) < 0.9
    again, other = mei(neurons=[2], n_steps_max=1), mei(neurons=[2], n_steps_max=1, seed=1)
    np.testing.assert_allclose(again.images[0], found.images[0], rtol=1e-5, atol=1e-6)
    assert not np.allclose(other.images[0], found.images[0])


# -- networks ---------------------------------------------------------------------------------


def test_the_patch_of_the_cone_gives_the_whole_image(network):
    cone, neurons = ConeResponse(network), np.arange(12)
    start = cone.paste(
        cone.crop(torch.from_numpy(draws(12, 1, 16, 22)), torch.arange(12)), torch.arange(12)
    ).numpy()[:, 0]
    settings = {"norm": 3.0, "init": start, "smoothing": 0.0, "n_steps_max": 15, "tolerance": 0.0}
    in_patch = most_exciting_images(cone, neurons, (16, 22), **settings)
    whole = most_exciting_images(own_responses(network), neurons, (16, 22), **settings)
    # step by step the same ascent, and grey outside
    np.testing.assert_allclose(in_patch.history[:, :16], whole.history[:, :16], rtol=1e-3)
    np.testing.assert_allclose(in_patch.images, whole.images, atol=5e-3)
    outside = cone.paste(torch.ones(12, 1, *cone.patch_shape), torch.arange(12))[:, 0].numpy() == 0
    assert outside.any()
    assert (in_patch.images[outside] == 0).all()
    assert np.abs(whole.images[outside]).max() < 1e-6


def test_a_mask_and_a_smooth_way_in_the_patch(network):
    cone, mask = ConeResponse(network), np.zeros((16, 22))
    mask[:, ::4] = mask[:, 1::4] = 1.0
    found = most_exciting_images(cone, range(12), (16, 22), norm=3.0, mask=mask, tolerance=1e-5)
    whole = most_exciting_images(
        own_responses(network), range(12), (16, 22), norm=3.0, mask=mask, tolerance=1e-5
    )
    assert (found.images[:, mask == 0] == 0).all()
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(3.0, rel=1e-5)
    # another way up, mostly to the same summit
    assert np.median(np.abs(found.responses / whole.responses - 1)) < 0.01


def test_members_of_an_ensemble_are_averaged(network):
    images, index = torch.from_numpy(draws(4, 1, *SHAPE)), torch.arange(4)
    members = [own_responses(linear), lambda x, i: 1000 * own_responses(linear)(x, i) + 1]
    first, second = (member(images, index) for member in members)
    torch.testing.assert_close(mean_response(members)(images, index), (first + second) / 2)
    geometric = mean_response(members, "geometric")
    torch.testing.assert_close(geometric(images, index), (first * second).sqrt())
    # on whatever scale a member is, it pulls as much
    images.requires_grad_()
    slopes = []
    for scale in (1.0, 50.0):
        scaled = [members[0], lambda x, i, s=scale: s * own_responses(energy)(x, i)]
        height = mean_response(scaled, "geometric")(images, index)
        slopes.append(torch.autograd.grad(height.log().sum(), images)[0])
    torch.testing.assert_close(*slopes)


def test_diverse_images_of_an_invariant_neuron_part_and_lose_nothing():
    orthogonal = torch.from_numpy(np.stack([np.linalg.qr(p.T)[0].T for p in PAIRS]))

    def both(images):
        """Neurons 0 to 5 indifferent to phase, 6 to 11 linear."""
        features = torch.einsum("bp,nkp->bnk", images.flatten(1), orthogonal)
        return torch.cat([features.norm(dim=2), features[..., 0]], dim=1)

    reference = mei(both, range(12)).responses
    settings = {"norm": NORM, "reference": reference, "n_images": 3, "weight": 0.5}
    found = diverse_images(own_responses(both), range(12), SHAPE, tolerance=1e-5, **settings)
    assert found.neurons.tolist() == np.repeat(np.arange(12), 3).tolist()
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(NORM, rel=1e-5)
    share = found.responses.reshape(12, 3) / reference[:, None]
    unit = found.images.reshape(12, 3, -1) / NORM
    similarity = ((unit.sum(axis=1) ** 2).sum(axis=1) - 3) / 6
    # three images in a plane are most different at 120 degrees
    assert similarity[:6] == pytest.approx(-0.5, abs=0.02)
    assert share[:6].min() > 0.99
    # at a share a of the best, cosines can be as low as (3 a^2 - 1) / 2: 1 / (3 weight) is best
    assert share[6:] == pytest.approx(2 / 3, abs=0.02)
    assert similarity[6:] == pytest.approx(1 / 6, abs=0.03)
    direct = own_responses(both)(torch.from_numpy(found.images)[:, None], torch.arange(36) // 3)
    np.testing.assert_allclose(found.responses, direct, rtol=1e-5)


def test_the_published_recipe_step_by_step():
    found = walker2019(own_responses(linear), [1], SHAPE, n_steps=3)
    image = np.random.default_rng([0, 1, 0]).standard_normal(SHAPE, dtype=np.float32)
    rows, columns = np.meshgrid(np.fft.fftfreq(12), np.fft.fftfreq(16), indexing="ij")
    history = []
    for done in (0, 0.5, 1):
        tensor = torch.from_numpy(image)[None, None].float().requires_grad_()
        response = linear(tensor)[0, 1]
        history.append(response.item())
        slope = torch.autograd.grad(response, tensor)[0][0, 0].numpy()
        slope = np.fft.ifft2(np.fft.fft2(slope) * (1 - np.hypot(rows, columns)) ** 0.04).real
        rate = (1 - done) / 850 + done / 20400
        image = image + rate * slope / np.abs(slope).mean()
        image = image.clip(-111.283 / 60.922, (255 - 111.283) / 60.922)
        image = ndimage.gaussian_filter(image, 1.5 - 1.49 * done).astype(np.float32)
    np.testing.assert_allclose(found.images[0], image, atol=1e-5)
    np.testing.assert_allclose(found.history[0, :3], history, rtol=1e-5)
    assert found.history.shape == (1, 4)
    assert not found.converged.any()


# -- banks and controls -----------------------------------------------------------------------


def test_the_best_of_a_bank_is_the_best_of_a_loop():
    bank = 3 * draws(300, *SHAPE, seed=4)
    found = best_of_bank(linear, bank, NORM, batch_size=64)
    scaled = torch.from_numpy(matched_norm(bank))
    responses = np.stack([linear(image[None])[0].numpy() for image in scaled[:, None]])
    assert found.which.tolist() == responses.argmax(axis=0).tolist()
    np.testing.assert_allclose(found.responses, responses.max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.images, scaled[found.which], rtol=1e-5)


def test_the_best_under_a_mask_is_the_best_of_a_loop():
    bank = 2 + draws(40, *SHAPE, seed=5)
    masks = mask_of(FILTERS[:3].reshape(3, *SHAPE) * np.hanning(12)[:, None] ** 4)
    neurons = [4, 0, 2]
    found = best_under_mask(own_responses(linear), neurons, bank, masks, NORM, batch_size=16)
    for row, (neuron, mask) in enumerate(zip(neurons, masks, strict=True)):
        shown = matched(bank, NORM, mask)
        each = linear(torch.from_numpy(shown)[:, None])[:, neuron].numpy()
        assert found.which[row] == each.argmax()
        assert found.responses[row] == pytest.approx(each.max(), rel=1e-5)
        np.testing.assert_allclose(found.images[row], shown[each.argmax()], rtol=1e-5)
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(NORM, rel=1e-5)


def test_answers_are_the_diagonal():
    images, neurons = draws(5, *SHAPE, seed=6), [3, 1, 1, 5, 0]
    each = linear(torch.from_numpy(images)[:, None]).numpy()
    found = answers(linear, images, neurons, batch_size=2)
    np.testing.assert_allclose(found, each[np.arange(5), neurons], rtol=1e-5)


def matched_norm(images):
    return NORM * images / np.linalg.norm(images, axis=(1, 2), keepdims=True)


def test_matched_images_have_the_norm_and_mean_grey():
    images = 40 + 7 * draws(5, *SHAPE)
    found = matched(images, NORM)
    assert np.linalg.norm(found, axis=(1, 2)) == pytest.approx(NORM, rel=1e-5)
    assert found.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-6)
    assert cosine(found, images - images.mean(axis=(1, 2), keepdims=True)).min() > 0.99999
    np.testing.assert_allclose(matched(3 * images + 100, NORM), found, atol=1e-4)
    mask = mask_of(FILTERS[0].reshape(SHAPE) * np.outer(np.hanning(12), np.hanning(16)) ** 4)
    masked = matched(images, NORM, mask)
    assert np.linalg.norm(masked, axis=(1, 2)) == pytest.approx(NORM, rel=1e-5)
    assert masked.sum(axis=(1, 2)) == pytest.approx(0, abs=1e-4)
    # luminance counts no more
    np.testing.assert_allclose(matched(images + 1000, NORM, mask), masked, atol=1e-3)


def test_the_table_of_gabors_covers_its_ranges_evenly():
    table = gabor_table(36, 64)
    assert len(table) == 5000
    assert not table.duplicated().any()
    assert table["frequency"].between(0.03, 0.2).all()
    assert (table["sigma"] * table["frequency"]).between(0.2 - 1e-9, 0.7 + 1e-9).all()
    assert table["elongation"].between(1, 2).all()
    cells = pd.crosstab(
        pd.cut(table["row"], np.linspace(0, 35, 6)), pd.cut(table["column"], np.linspace(0, 63, 9))
    )
    assert cells.to_numpy().min() > 0.8 * 5000 / 40
    assert gabor_table(36, 64, 10).equals(gabor_table(36, 64, 10))
    assert not gabor_table(36, 64, 10).equals(gabor_table(36, 64, 10, seed=1))


def test_gabors_are_painted_as_the_round_ones_of_the_bank():
    table = gabor_table(20, 30, 200, seed=2).assign(elongation=1.0)
    expected = gabor_bank(
        20,
        30,
        frequencies=table["frequency"].to_numpy(),
        orientations=table["orientation"].to_numpy(),
        sigmas=table["sigma"].to_numpy(),
        centres=table[["row", "column"]].to_numpy(),
        phases=table["phase"].to_numpy(),
    )
    painted = paint_gabors(table, 20, 30, norm=3.0)
    np.testing.assert_allclose(painted.reshape(200, -1), 3 * expected, atol=3e-5)
    long = table.iloc[:1].assign(elongation=2.0, orientation=0.0, row=9.5, column=14.5, sigma=2.0)
    energy = paint_gabors(long, 20, 30)[0] ** 2
    spread = [np.sum(e * (np.arange(len(e)) - np.sum(e * np.arange(len(e)))) ** 2) for e in
              (energy.sum(axis=1), energy.sum(axis=0))]  # fmt: skip
    assert np.sqrt(spread[0]) == pytest.approx(4 / np.sqrt(2), rel=0.05)  # along the bars: rows
    assert spread[1] < spread[0]


def test_a_gabor_is_fitted_by_itself():
    truth = gabor_table(20, 30, 8, seed=3, frequencies=(0.06, 0.15))
    truth[["row", "column"]] = truth[["row", "column"]] / 2 + [5, 8]
    images = paint_gabors(truth, 20, 30, norm=4.0)
    found = fit_gabor(images, bank=gabor_table(20, 30, 500))
    assert found.score.min() > 0.999
    np.testing.assert_allclose(found.images, images, atol=0.1)
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(4, rel=1e-4)
    ordinary = truth["frequency"] * truth["sigma"] > 0.35  # fewer bars have no sure frequency
    ratio = (found.table["frequency"] / truth["frequency"])[ordinary]
    assert ratio.to_numpy() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(paint_gabors(found.table, 20, 30), found.images / 4, atol=1e-5)


def test_a_plaid_is_no_gabor_and_the_cosine_says_so():
    table = gabor_table(20, 30, 1).assign(row=9.5, column=14.5, sigma=5.0, frequency=0.12)
    table = table.assign(elongation=1.0, phase=0.0)
    parts = [paint_gabors(table.assign(orientation=a), 20, 30)[0] for a in (0, np.pi / 2)]
    plaid = (parts[0] + parts[1]) / np.linalg.norm(parts[0] + parts[1])
    found = fit_gabor(plaid[None])
    # one of the two, or both to the diagonal: 0.71 of the plaid, and little more
    assert 0.7 < found.score[0] < 0.85
    # a nearby member of no bank is better: the fit has arrived
    nearby = pd.concat([found.table] * 200)
    rng = np.random.default_rng(0)
    nearby = nearby * (1 + 0.02 * rng.standard_normal(nearby.shape))
    others = paint_gabors(nearby, 20, 30).reshape(200, -1) @ plaid.ravel()
    assert others.max() < found.score[0] + 1e-4


def test_the_best_gabor_of_a_gabor_neuron_is_its_own():
    truth = gabor_table(20, 30, 6, seed=5, frequencies=(0.06, 0.15))
    filters = torch.from_numpy(paint_gabors(truth, 20, 30)).flatten(1)

    def model(images):
        return images.flatten(1) @ filters.T

    table = gabor_table(20, 30, 2000)
    start = best_of_bank(model, paint_gabors(table, 20, 30), NORM)
    found = best_gabors(own_responses(model), np.arange(6), table.iloc[start.which], (20, 30), NORM)
    assert (start.responses < 0.98 * NORM).all()
    assert found.score.min() > 0.99 * NORM
    direct = own_responses(model)(torch.from_numpy(found.images)[:, None], torch.arange(6))
    np.testing.assert_allclose(found.score, direct, rtol=1e-4)
    assert np.linalg.norm(found.images, axis=(1, 2)) == pytest.approx(NORM, rel=1e-4)
    # without steps, the start
    kept = best_gabors(
        own_responses(model), np.arange(6), table.iloc[start.which], (20, 30), NORM, n_steps=0
    )
    np.testing.assert_allclose(kept.score, start.responses, rtol=1e-4)


# -- masks and measures -----------------------------------------------------------------------


def test_the_gaussian_mask_follows_place_size_and_tilt():
    y, x = np.mgrid[:36, :64]
    images = np.exp(-((x - 40) ** 2) / (4 * 5**2) - ((y - 12) ** 2) / (4 * 2**2))[None]
    mask = mask_of(images, share=0.95)[0]
    assert mask.dtype == np.float32
    assert mask[12, 40] == 1
    # the energy has s.d. 5 and 2: 95 % within 2.45 of them
    assert np.flatnonzero(mask[12] == 1)[[0, -1]] == pytest.approx([40 - 12.2, 40 + 12.2], abs=1)
    assert np.flatnonzero(mask[:, 40] == 1)[[0, -1]] == pytest.approx([12 - 4.9, 12 + 4.9], abs=1)
    assert (images[0] ** 2)[mask == 1].sum() / (images**2).sum() == pytest.approx(0.95, abs=0.02)
    tilted = np.exp(-(((x - y - 15) / 3) ** 2) - ((x + y - 45) / 12) ** 2)
    mask = mask_of(-tilted)
    assert mask[15 + 5, 30 + 5] > mask[15 - 5, 30 + 5]


def test_the_threshold_mask_holds_the_share():
    images = paint_gabors(gabor_table(36, 64, 20, seed=1), 36, 64)
    for share in (0.5, 0.9):
        mask = mask_of(images, kind="threshold", share=share)
        assert mask.min() >= 0
        assert mask.max() <= 1
        energy = (images**2 * (mask > 0.5)).sum(axis=(1, 2))
        assert energy == pytest.approx(share, abs=0.18)
    assert (mask_of(images, kind="threshold", share=0.5) > 0.5).sum() < (mask > 0.5).sum()
    single = np.zeros((20, 20))
    single[9, 10] = -1
    for kind in ("gaussian", "threshold"):
        mask = mask_of(single, kind=kind)
        assert mask[9, 10] > 0.9 * mask.max()
        assert mask[[0, -1]].max() < 0.1


def test_symmetry_is_that_of_the_form_not_of_the_grey_around():
    y, x = np.mgrid[:20, :30] - np.array([9.5, 14.5])[:, None, None]
    envelope = np.exp(-(x**2 + y**2) / 20)
    even, odd = envelope * np.cos(x), envelope * np.sin(x)
    table = describe(np.stack([even, odd, 5 + 2 * odd, np.roll(even, 5, axis=1), even * 0 + 3]))
    assert table["one_fold"][:2].to_numpy() == pytest.approx([1, -1])
    assert table["two_fold"][:2].to_numpy() == pytest.approx([1, 0])
    assert table["one_fold"][2] == pytest.approx(-1)
    assert table["one_fold"][3] < 0.5
    assert table["luminance"][[2, 4]].to_numpy() == pytest.approx([5, 3])
    assert table["contrast"][2] == pytest.approx(2 * odd.std())
    assert np.isnan(table["one_fold"][4])
    # the mean difference of pixels, in the range of the image, calls all of them symmetric
    for image in (even, odd):
        span = (image - image.min()) / np.ptp(image)
        assert 1 - np.abs(span - span[:, ::-1]).mean() > 0.9


def test_the_radial_spectrum_of_a_wave_and_of_noise():
    x = np.arange(64)
    wave = np.tile(2 * np.cos(2 * np.pi * x * 8 / 64), (32, 1))
    frequency, power = radial_spectrum(np.stack([wave, draws(32, 64)]), 16)
    assert power.shape == (2, 16)
    assert frequency[power[0].argmax()] == pytest.approx(8 / 64, abs=1 / 64)
    assert power[1, 1:] == pytest.approx(0, abs=0.25)
    # Parseval, with the corners left in by the finest bins of a single direction
    rows, columns = np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(64), indexing="ij")
    inside = np.hypot(rows, columns) < 0.5
    counts = np.histogram(np.hypot(rows, columns)[inside], np.linspace(0, 0.5, 17))[0]
    total = (10 ** power[1] * counts).sum()
    expected = (np.abs(np.fft.fft2(draws(32, 64))) ** 2 / 2048)[inside].sum()
    assert total == pytest.approx(expected, rel=1e-5)


# -- bad input --------------------------------------------------------------------------------


NAN = np.full((6, *SHAPE), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"neurons": []}, "neurons must be a list of whole numbers"),
        ({"neurons": [0.5]}, "whole numbers"),
        ({"norm": 0.0}, "a finite norm above 0"),
        ({"norm": np.inf}, "a finite norm above 0"),
        ({"step": 2.0}, "at most 1 radian"),
        ({"shape": (1, 16)}, "2 x 2 pixels"),
        ({"n_steps_max": 0}, "n_steps_max, window and batch_size of at least 1"),
        ({"window": 0}, "at least 1"),
        ({"batch_size": 0}, "at least 1"),
        ({"smoothing": -1.0}, "smoothing and tolerance"),
        ({"tolerance": -1.0}, "smoothing and tolerance"),
        ({"sign": 0}, "sign must be 1"),
        ({"init": draws(5, *SHAPE)}, r"init must be \(6, 12, 16\)"),
        ({"init": np.zeros((6, *SHAPE))}, "no image of it blank"),
        ({"init": NAN}, "finite"),
        ({"mask": np.ones((3, 3))}, r"mask must be \(12, 16\) or"),
        ({"mask": 2 * np.ones(SHAPE)}, "from 0 to 1"),
        ({"mask": np.zeros(SHAPE)}, "start is blank"),
        ({"model": lambda images: linear(images) * torch.nan}, "start is not finite"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mei(**changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_response([]), "at least one member"),
        (lambda: mean_response([linear], "median"), "got 1 and 'median'"),
        (lambda: walker2019(own_responses(linear), [0], SHAPE, n_steps=1), "at least 2; got 1"),
        (lambda: best_of_bank(linear, draws(*SHAPE), 1.0), "a bank"),
        (lambda: best_of_bank(linear, np.zeros((2, *SHAPE)), 1.0), "without blank"),
        (lambda: best_of_bank(linear, draws(2, *SHAPE), 0.0), "a norm above 0"),
        (
            lambda: best_under_mask(
                own_responses(linear), [0, 1], draws(3, *SHAPE), np.ones((1, *SHAPE)), 1.0
            ),
            "for 2 neurons",
        ),
        (lambda: answers(linear, draws(3, *SHAPE), [0, 1]), "2,.* neurons"),
        (lambda: matched(np.full((2, *SHAPE), 3.1), 1.0), "2 flat images"),
        (lambda: matched(draws(2, *SHAPE), 1.0, np.zeros(SHAPE)), "2 flat images"),
        (lambda: matched(draws(2, *SHAPE), -1.0), "norm above 0"),
        (lambda: mask_of(np.zeros(SHAPE)), "1 blank images"),
        (lambda: mask_of(draws(*SHAPE), share=1.0), "a share between 0 and 1"),
        (lambda: mask_of(draws(*SHAPE), kind="box"), "'box'"),
        (lambda: describe(draws(*SHAPE)), r"images must be \(M, H, W\)"),
        (lambda: radial_spectrum(draws(*SHAPE)), r"images must be \(M, H, W\)"),
        (lambda: gabor_table(0, 4), "positive height"),
        (lambda: gabor_table(9, 9, frequencies=(0.1, 0.6)), "up to 0.5"),
        (lambda: gabor_table(9, 9, cycles=(0.5, 0.2)), "ranges"),
        (lambda: paint_gabors(gabor_table(9, 9, 2).drop(columns="phase"), 9, 9), "'phase'"),
        (lambda: paint_gabors(gabor_table(9, 9, 1).assign(row=900.0), 9, 9), "zero on the whole"),
        (lambda: fit_gabor(np.zeros((1, 9, 9))), "none blank"),
        (
            lambda: best_gabors(
                own_responses(linear), np.arange(2), gabor_table(9, 9, 3), SHAPE, 1
            ),
            "one start for each neuron",
        ),
        (
            lambda: diverse_images(
                own_responses(linear), [0], SHAPE, norm=1.0, reference=[1.0], n_images=1
            ),
            "n_images of at least 2",
        ),
        (
            lambda: diverse_images(own_responses(linear), [0], SHAPE, norm=1.0, reference=[0.0]),
            "positive reference",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
